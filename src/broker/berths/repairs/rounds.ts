/** Work for the guard by whose it is: at most so many pieces at once of each owner; the others wait in a line. */
import type { Owner } from "../../guard/guard.ts";

export class Rounds {
  readonly #most: number;
  readonly #byOwner = new Map<Owner, { count: number; readonly line: (() => void)[] }>();
  #active = 0;
  #onOver: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes one of the owner's places, to be given back by {@link leave}; false if all are taken. */
  enter(owner: Owner): boolean {
    const own = this.#byOwner.get(owner);
    if (own === undefined) this.#byOwner.set(owner, { count: 1, line: [] });
    else if (own.count < this.#most) own.count++;
    else return false;
    this.#active++;
    return true;
  }

  leave(owner: Owner): void {
    const own = this.#byOwner.get(owner);
    // Its place is the next one's. To wake them all each time would take minutes for ten thousand berths.
    const next = own?.line.shift();
    if (next !== undefined) return next();
    if (own !== undefined && --own.count === 0) this.#byOwner.delete(owner);
    if (--this.#active === 0) for (const tell of this.#onOver.splice(0)) tell();
  }

  async run<T>(owner: Owner, round: () => Promise<T>): Promise<T> {
    if (!this.enter(owner)) await new Promise<void>((resolve) => this.#byOwner.get(owner)?.line.push(resolve));
    try {
      return await round();
    } finally {
      this.leave(owner);
    }
  }

  /** Resolves when none is under way. */
  over(): Promise<void> {
    return this.#active === 0 ? Promise.resolve() : new Promise((resolve) => this.#onOver.push(resolve));
  }
}
