/** What each user may use of the broker's time and memory. Root and the broker's own user have a share of their own. */
import type { Memory, Turn } from "../../../wire.ts";
import { INCOMPLETE_BYTES, UNREAD_BYTES } from "./limits.ts";
import { MemoryPool, UNLIMITED } from "./memory-pool.ts";
import { Turns } from "./turns.ts";

/** What one connection may use. */
export interface Budget {
  readonly turn: Turn;
  /** For incomplete calls. */
  readonly incomplete: Memory;
  /** For replies and events that wait to be read. */
  readonly unread: Memory;
}

export class Budgets {
  readonly #turns: Turns = new Turns();
  readonly #incomplete: MemoryPool = new MemoryPool(INCOMPLETE_BYTES);
  readonly #unread: MemoryPool = new MemoryPool(UNREAD_BYTES);

  /** For one more connection of a user. */
  of(account: number, privileged: boolean): Budget {
    return {
      turn: this.#turns.join(account, privileged),
      incomplete: privileged ? UNLIMITED : this.#incomplete.of(account),
      unread: privileged ? UNLIMITED : this.#unread.of(account),
    };
  }
}
