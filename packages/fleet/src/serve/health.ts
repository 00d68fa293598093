/** Whether etcd answers. Anybody may ask, so one read is for all who ask within a second. */
import { Fault } from "../fault.ts";

const KEEP_MS = 1_000;

export class Health {
  readonly #read: () => Promise<unknown>;
  #last: Promise<boolean> | undefined;
  /** By performance.now(). Infinite while a read is in progress. */
  #until = 0;

  /** `read` throws a Fault where etcd does not answer. */
  constructor(read: () => Promise<unknown>) {
    this.#read = read;
  }

  isWell(): Promise<boolean> {
    if (this.#last !== undefined && performance.now() < this.#until) return this.#last;
    this.#until = Number.POSITIVE_INFINITY;
    this.#last = this.#ask().finally(() => {
      this.#until = performance.now() + KEEP_MS;
    });
    return this.#last;
  }

  async #ask(): Promise<boolean> {
    try {
      await this.#read();
      return true;
    } catch (error) {
      if (error instanceof Fault) return false;
      throw error;
    }
  }
}
