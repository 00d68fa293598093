/** The watches that one doorman is to drop, and the orders for that which it has not carried out yet. */
import { MOST_DROPS } from "../../../doorman/interfaces/messages.ts";
import type { DoormanProcess } from "./doorman-process.ts";

export class Drops {
  /** Watches that the process has not been told to drop yet. */
  readonly #next: number[] = [];
  /** Orders that it has not carried out yet. */
  readonly #underWay = new Set<number>();
  #last = 0;

  get isClear(): boolean {
    return this.#next.length === 0 && this.#underWay.size === 0;
  }

  /** Whether the process has not been told yet. */
  get isDue(): boolean {
    return this.#next.length > 0;
  }

  add(watch: number): void {
    this.#next.push(watch);
  }

  /** Sends what is to be sent. Whether the process has taken it. */
  flush(process: DoormanProcess): boolean {
    while (this.#next.length > 0) {
      const batch = this.#next.slice(0, MOST_DROPS);
      const number = (this.#last + 1) & 0x7fffffff;
      if (process.send({ drop: batch, number }) < 0) return false;
      this.#last = number;
      this.#next.splice(0, batch.length);
      this.#underWay.add(number);
    }
    return true;
  }

  /** The process has carried out an order. Whether it has any copy left that it was to drop is {@link isClear}. */
  done(number: number): boolean {
    return this.#underWay.delete(number);
  }

  /** The process has ended, and all of its copies with it. */
  clear(): void {
    this.#next.length = 0;
    this.#underWay.clear();
  }
}
