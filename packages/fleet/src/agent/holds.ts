/** Berths that this host shall hold: their servers are drained, and then they are off until the hold ends. */
import type { Hold } from "../model/hold.ts";
import type { BrokerLink } from "./broker-link.ts";

export class Holds {
  readonly #broker: BrokerLink;
  readonly #say: (sentence: string) => void;
  /** The lease of the server that drains, by berth. */
  readonly #drains = new Map<string, string>();
  #wanted: ReadonlyMap<string, Hold> = new Map();

  constructor(broker: BrokerLink, say: (sentence: string) => void) {
    this.#broker = broker;
    this.#say = say;
  }

  set wanted(wanted: ReadonlyMap<string, Hold>) {
    this.#wanted = wanted;
  }

  /** A hold of another generation is about a berth that the host has no longer. */
  has(berth: string, generation: number): boolean {
    return this.#wanted.get(berth)?.generation === generation;
  }

  /**
   * Cancels the drains whose holds have ended, also those that `berth drain` had begun. After a restart the agent knows
   * only the drains of holds that it finds.
   */
  async cancelEnded(): Promise<void> {
    for (const [berth, lease] of this.#drains) {
      if (this.#wanted.has(berth)) continue;
      this.#drains.delete(berth);
      const record = this.#broker.berths?.get(berth);
      if (record?.lease?.id !== lease) continue;
      const failed = await this.#broker.cancelDrain(berth);
      if (failed !== undefined) this.#say(`cannot cancel the drain of ${berth}: ${failed}`);
    }
  }

  /** Whether the berth is to be held and its server may be stopped now. Begins the drain if there is none. */
  async isDrained(berth: string, generation: number): Promise<boolean> {
    const hold = this.#wanted.get(berth);
    if (hold?.generation !== generation) return false;
    const record = this.#broker.berths?.get(berth);
    const lease = record?.lease?.id;
    if (lease === undefined || hold.within === 0) return true;
    const drain = this.#drains.get(berth);
    // Another server: the drained one has ended, and something has started the next.
    if (drain !== undefined) return drain !== lease;
    const failed = record?.drain ? undefined : await this.#broker.drain(berth, hold.within);
    if (failed !== undefined) this.#say(`cannot drain ${berth}: ${failed}`);
    else this.#drains.set(berth, lease);
    return false;
  }
}
