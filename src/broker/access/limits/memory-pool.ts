/**
 * How much memory the connections of each user may hold, all together and of all users. Pure: it only counts.
 * When all users together hold too much, those below an equal share still get some.
 */
import type { Memory } from "../../../wire.ts";
import type { MemoryLimits } from "./limits.ts";

/** For peers without a limit. */
export const UNLIMITED: Memory = { take: () => true, give: () => undefined };

export class MemoryPool {
  readonly #limits: MemoryLimits;
  readonly #used = new Map<number, number>();
  #total = 0;

  constructor(limits: MemoryLimits) {
    this.#limits = limits;
  }

  /** What one more connection of a user may hold. */
  of(account: number): Memory {
    return {
      take: (bytes) => this.#take(account, bytes),
      give: (bytes) => this.#give(account, bytes),
    };
  }

  #take(account: number, bytes: number): boolean {
    const own = this.#used.get(account) ?? 0;
    const { user, all } = this.#limits;
    if (own + bytes > user) return false;
    const holders = this.#used.size + (own === 0 ? 1 : 0);
    if (this.#total + bytes > all && own + bytes > all / holders) return false;
    this.#used.set(account, own + bytes);
    this.#total += bytes;
    return true;
  }

  #give(account: number, bytes: number): void {
    const left = (this.#used.get(account) ?? 0) - bytes;
    if (left > 0) this.#used.set(account, left);
    else this.#used.delete(account);
    this.#total -= bytes;
  }
}
