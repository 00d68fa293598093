/**
 * Reserves the ranges of all berths that ask at the same moment with one write. A reservation must be on disk before a
 * lease begins, and that takes milliseconds. So all wait until no other berth asks, then share the write. It opens no
 * file.
 */
import { BerthError } from "../../errors.ts";
import type { Range } from "./range.ts";

/** The reservations, as `Ranges` has them. */
export interface Reserving {
  knows(owner: string): boolean;
  reserve(owner: string, wanted?: number): Range;
  reserveAll(wanted: ReadonlyMap<string, number | undefined>): void;
}

/** The longest time that the first berth waits for others. */
const LONGEST_WAIT_MS = 20;

export class ReserveTogether {
  readonly #ranges: Reserving;
  /** The owners that asked since the last write, with the base that each wants. */
  readonly #asked = new Map<string, number | undefined>();
  /**
   * The owners of the last writes, until they ask again. Then `Ranges.reserve` gives the range, or throws the reason
   * why there is none: they do not wait for another write.
   */
  readonly #served = new Set<string>();
  #until: Promise<undefined> | undefined;
  #isClosed = false;

  constructor(ranges: Reserving) {
    this.#ranges = ranges;
  }

  /**
   * The owner's range. If it has none yet, a promise: ask again when it resolves. Throws as `Ranges.reserve`.
   */
  reserve(owner: string, wanted?: number): Range | Promise<undefined> {
    const isServed = this.#served.delete(owner);
    if (isServed || this.#isClosed || this.#ranges.knows(owner)) return this.#ranges.reserve(owner, wanted);
    this.#asked.set(owner, wanted);
    this.#until ??= this.#write();
    return this.#until;
  }

  /** Writes nothing any more. */
  close(): void {
    this.#isClosed = true;
  }

  async #write(): Promise<undefined> {
    await this.#untilAllHaveAsked();
    this.#until = undefined;
    const asked = new Map(this.#asked);
    this.#asked.clear();
    for (const owner of asked.keys()) this.#served.add(owner);
    if (this.#isClosed) return undefined;
    try {
      this.#ranges.reserveAll(asked);
    } catch (error) {
      // Each asks again, alone, and gets its own error.
      if (!(error instanceof BerthError)) throw error;
    }
    return undefined;
  }

  /** Until two turns of the event loop bring no other one: calls that have arrived are read one in a turn. */
  async #untilAllHaveAsked(): Promise<void> {
    const end = performance.now() + LONGEST_WAIT_MS;
    for (let [size, same] = [0, 0]; same < 2 && performance.now() < end; ) {
      await new Promise((resolve) => setImmediate(resolve));
      same = this.#asked.size === size ? same + 1 : 0;
      size = this.#asked.size;
    }
  }
}
