/** Work for the guard by whose it is: at most so many pieces at once of each owner; the others wait in a line. */
import type { Owner } from "../guard/guard.ts";

export class Rounds {
  readonly #most: number;
  readonly #byOwner = new Map<Owner, { count: number; readonly line: (() => void)[] }>();
  readonly #active = new Set<Promise<unknown>>();

  constructor(most: number) {
    this.#most = most;
  }

  async run<T>(owner: Owner, round: () => Promise<T>): Promise<T> {
    const own = this.#byOwner.get(owner) ?? { count: 0, line: [] };
    this.#byOwner.set(owner, own);
    if (own.count < this.#most) own.count++;
    else await new Promise<void>((resolve) => own.line.push(resolve));
    const one = round();
    this.#active.add(one);
    try {
      return await one;
    } finally {
      this.#active.delete(one);
      // Its place is the next one's. To wake them all each time would take minutes for ten thousand berths.
      const next = own.line.shift();
      if (next !== undefined) next();
      else if (--own.count === 0) this.#byOwner.delete(owner);
    }
  }

  /** Resolves when those that run now are over. */
  async over(): Promise<void> {
    await Promise.all(this.#active);
  }
}
