/** A lease of etcd for as long as this program lives. The keys that it puts under it go with us. */
import { type Etcd, isUnreachable } from "../../etcd/etcd.ts";
import { sleep } from "../../etcd/follow.ts";
import { Fault } from "../../fault.ts";

/** Also for how long a host does what a killed program has ordered. */
const LEASE_SECONDS = 15;
const KEEP_MS = 5_000;
const AFTER_FAILURE_MS = 1_000;

export class KeptLease implements AsyncDisposable {
  readonly #etcd: Etcd;
  readonly id: bigint;
  readonly #ended = new AbortController();
  readonly #lost = new AbortController();
  readonly #keeping: Promise<void>;

  private constructor(etcd: Etcd, id: bigint) {
    this.#etcd = etcd;
    this.id = id;
    this.#keeping = this.#keep();
  }

  static async take(etcd: Etcd): Promise<KeptLease> {
    return new KeptLease(etcd, await etcd.grant(LEASE_SECONDS));
  }

  /** Aborted when etcd has ended the lease. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#ended;
    for (let pause = KEEP_MS; ; ) {
      await sleep(pause, signal);
      if (signal.aborted) return;
      try {
        if (!(await this.#etcd.keepAlive(this.id))) return this.#lost.abort();
        pause = KEEP_MS;
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        pause = AFTER_FAILURE_MS;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#keeping;
    try {
      await this.#etcd.revoke(this.id);
    } catch (error) {
      // Then the lease ends by itself; or it has ended already.
      if (!isUnreachable(error) && !(error instanceof Fault && error.code === "ETCD_REFUSED")) throw error;
    }
  }
}
