/** Bounds what is done at the same time. What comes later waits for its turn, and too much of it is refused. */
export class Turns {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(most: number, mostWaiting: number) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
  }

  /** Calls it when it is its turn. Undefined: too many wait already. */
  async take<T>(call: () => Promise<T>): Promise<{ readonly result: T } | undefined> {
    if (this.#busy >= this.#most) {
      if (this.#waiting.length >= this.#mostWaiting) return undefined;
      await new Promise<void>((resolve) => this.#waiting.push(resolve)); // the place of the one before
    } else this.#busy++;
    try {
      return { result: await call() };
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy--;
      else next();
    }
  }
}
