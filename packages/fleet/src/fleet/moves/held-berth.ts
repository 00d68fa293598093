/** A hold on a berth, for as long as this program lives: its lease goes with us, and the host goes on then. */
import type { Etcd } from "../../etcd/etcd.ts";
import type { Condition } from "../../etcd/messages.ts";
import { Fault } from "../../fault.ts";
import type { Hold } from "../../model/hold.ts";
import type { Keys } from "../../model/keys.ts";
import type { Placement } from "../../model/placement.ts";
import type { Kept } from "../view.ts";
import { KeptLease } from "./kept-lease.ts";

export class HeldBerth implements AsyncDisposable {
  readonly #key: string;
  readonly #lease: KeptLease;

  private constructor(key: string, lease: KeptLease) {
    this.#key = key;
    this.#lease = lease;
  }

  /** Throws NOT_MOVED if somebody else holds the berth, or if it has changed, or if its host is gone. */
  static async take(
    etcd: Etcd,
    keys: Keys,
    { record, revision }: Kept<Placement>,
    within?: number,
  ): Promise<HeldBerth> {
    const { berth, host, generation } = record;
    const hold: Hold = { berth, generation, by: "move", ...(within !== undefined && { within }) };
    const key = keys.of({ kind: "hold", host, berth });
    const lease = await KeptLease.take(etcd);
    const { done } = await etcd.commit(
      [
        { key, revision: 0 },
        { key: keys.of({ kind: "placement", berth }), revision },
        { key: keys.of({ kind: "host", host }), present: true },
      ],
      [{ put: key, value: JSON.stringify(hold), lease: lease.id }],
    );
    if (done) return new HeldBerth(key, lease);
    await lease[Symbol.asyncDispose]();
    const { lists } = await etcd.read({ key }, { key: keys.of({ kind: "host", host }) });
    if (lists[0].length > 0)
      throw new Fault("NOT_MOVED", `${berth} is being moved already, or berth-fleet drain --stop has stopped it`);
    if (lists[1].length === 0)
      throw new Fault(
        "NOT_MOVED",
        `its host ${host} is silent, so nobody knows whether the server of ${berth} has ended`,
      );
    throw new Fault("NOT_MOVED", `somebody else has changed ${berth}; see berth-fleet ls, and try again`);
  }

  /** Aborted when etcd has ended the hold: the host may start the server again. */
  get lost(): AbortSignal {
    return this.#lease.lost;
  }

  /** For a transaction: the hold is still there. */
  get condition(): Condition {
    return { key: this.#key, present: true };
  }

  /** The host goes on with the berth, if it still has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lease[Symbol.asyncDispose]();
  }
}
