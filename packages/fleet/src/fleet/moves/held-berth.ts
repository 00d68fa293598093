/** A hold on a berth, for as long as this program lives: its lease goes with us, and the host goes on then. */
import { type Etcd, isUnreachable } from "../../etcd/etcd.ts";
import { sleep } from "../../etcd/follow.ts";
import type { Condition } from "../../etcd/messages.ts";
import { Fault } from "../../fault.ts";
import type { Hold } from "../../model/hold.ts";
import type { Keys } from "../../model/keys.ts";
import type { Placement } from "../../model/placement.ts";
import type { Kept } from "../view.ts";

/** Also for how long a host keeps a berth off after this program was killed. */
const LEASE_SECONDS = 15;
const KEEP_MS = 5_000;
const AFTER_FAILURE_MS = 1_000;

export class HeldBerth implements AsyncDisposable {
  readonly #etcd: Etcd;
  readonly #key: string;
  readonly #lease: bigint;
  readonly #ended = new AbortController();
  readonly #lost = new AbortController();
  readonly #keeping: Promise<void>;

  private constructor(etcd: Etcd, key: string, lease: bigint) {
    this.#etcd = etcd;
    this.#key = key;
    this.#lease = lease;
    this.#keeping = this.#keep();
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
    const lease = await etcd.grant(LEASE_SECONDS);
    const { done } = await etcd.commit(
      [
        { key, revision: 0 },
        { key: keys.of({ kind: "placement", berth }), revision },
        { key: keys.of({ kind: "host", host }), present: true },
      ],
      [{ put: key, value: JSON.stringify(hold), lease }],
    );
    if (done) return new HeldBerth(etcd, key, lease);
    await etcd.revoke(lease);
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
    return this.#lost.signal;
  }

  /** For a transaction: the hold is still there. */
  get condition(): Condition {
    return { key: this.#key, present: true };
  }

  async #keep(): Promise<void> {
    const { signal } = this.#ended;
    for (let pause = KEEP_MS; ; ) {
      await sleep(pause, signal);
      if (signal.aborted) return;
      try {
        if (!(await this.#etcd.keepAlive(this.#lease))) return this.#lost.abort();
        pause = KEEP_MS;
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        pause = AFTER_FAILURE_MS;
      }
    }
  }

  /** The host goes on with the berth, if it still has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#keeping;
    try {
      await this.#etcd.revoke(this.#lease);
    } catch (error) {
      // Then the lease ends by itself; or it has ended already.
      if (!isUnreachable(error) && !(error instanceof Fault && error.code === "ETCD_REFUSED")) throw error;
    }
  }
}
