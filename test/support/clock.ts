/** A clock that stands still until a test lets time pass. */
export class Clock {
  #now = 1_000_000;
  readonly #timers = new Map<() => void, number>();

  now = (): number => this.#now;

  after = (milliseconds: number, run: () => void): (() => void) => {
    this.#timers.set(run, this.#now + milliseconds);
    return () => this.#timers.delete(run);
  };

  get timers(): number {
    return this.#timers.size;
  }

  pass(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(([, at]) => at <= end).sort(([, one], [, other]) => one - other)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = due[1];
      due[0]();
    }
    this.#now = end;
  }
}
