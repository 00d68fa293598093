/** A berth that is at the broker only with its root: so its files can be saved or replaced, and no server starts. */
import { sleep } from "../../etcd/follow.ts";
import { Fault } from "../../fault.ts";
import type { JsonObject } from "../../model/fields.ts";
import type { BerthFiles } from "../berth-files.ts";
import type { BrokerLink } from "../broker-link.ts";

const PAUSE_MS = 1_000;

export class Staging {
  readonly #files: BerthFiles;
  readonly #broker: BrokerLink;
  readonly #changed: () => void;

  /** `changed` is called when a berth is staged no longer. */
  constructor(files: BerthFiles, broker: BrokerLink, changed: () => void) {
    this.#files = files;
    this.#broker = broker;
    this.#changed = changed;
  }

  /** Throws COPY_FAILED if the host has another berth of this name. */
  async check(berth: string, signal: AbortSignal): Promise<void> {
    const there = (await this.#broker.present(signal)).has(berth);
    const other = there ? `a berth ${berth}` : this.#files.inTheWayOf(berth);
    if (other !== undefined) throw new Fault("COPY_FAILED", `this host has ${other} already`);
  }

  /**
   * Does something while the berth is staged. The berth must not be at the broker. Throws COPY_FAILED if it is, or if
   * the broker does not take it.
   */
  async with<T>(berth: string, root: JsonObject, action: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.check(berth, signal);
    this.#files.stage(berth, root);
    try {
      const problem = await this.#broker.reload();
      if (problem !== undefined) throw new Fault("COPY_FAILED", `the broker refuses the berth's root: ${problem}`);
      return await action();
    } finally {
      await this.#end([berth], signal);
    }
  }

  /** Removes what a killed agent has left. */
  async endLeft(signal: AbortSignal): Promise<void> {
    const left = this.#files.staged();
    if (left.length > 0) await this.#end(left, signal);
  }

  /** Until the broker has forgotten them. The signal is heeded only while the broker does not answer. */
  async #end(berths: readonly string[], signal: AbortSignal): Promise<void> {
    for (const berth of berths) this.#files.remove(berth);
    for (;;) {
      const problem = await this.#broker.reload().catch((error: unknown) => String(error));
      if (problem === undefined) break;
      if (signal.aborted) return; // As a killed agent: the next one tells the broker.
      await sleep(PAUSE_MS, signal);
    }
    for (const berth of berths) this.#files.unstage(berth);
    this.#changed();
  }
}
