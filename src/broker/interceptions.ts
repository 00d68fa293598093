/** The servers whose binds are answered: one interception for each lease, kept until no process has the filter. */
import { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import type { Berths, Refusal, Requester } from "./berths.ts";
import { BindKeeper } from "./bind-keeper.ts";
import { Interception, isNotifyDescriptor } from "./interception.ts";
import type { Lease } from "./lease.ts";
import type { Log } from "./log.ts";
import type { Quota } from "./quota.ts";

export interface InterceptionsOptions {
  readonly berths: Berths;
  readonly quota: Quota;
  readonly sys: Native;
  readonly log: Log;
}

export class Interceptions {
  readonly #byLease = new Map<Lease, Interception>();
  readonly #options: InterceptionsOptions;
  readonly #keeper: BindKeeper;

  constructor(options: InterceptionsOptions) {
    this.#options = options;
    this.#keeper = new BindKeeper(options.sys, options.log);
  }

  /** Begins to answer the binds that are reported on `notify`, for the lease's tenant; takes the descriptor over. */
  begin(id: string, notify: FdHandle, who: Requester): Refusal | undefined {
    const { berths, quota, sys, log } = this.#options;
    const found = berths.leaseOf(id, who);
    if ("kind" in found) return found;
    const { berth, lease } = found;
    if (!isNotifyDescriptor(notify.fd)) {
      return { kind: "unsuitable", name: "notify", message: "the descriptor is not one on which seccomp reports" };
    }
    if (this.#byLease.has(lease)) {
      return { kind: "limit", limit: "interceptions", message: `the binds of lease ${id} are answered already` };
    }
    const { uid } = lease.tenant;
    if (!quota.charge("interceptions", uid)) {
      return {
        kind: "limit",
        limit: "interceptions",
        message: `uid ${uid} has ${quota.limits.interceptions} servers with bind delivery`,
      };
    }
    const end = (): void => {
      if (!this.#byLease.delete(lease)) return;
      interception.close();
      quota.refund("interceptions", uid);
      if (this.#byLease.size === 0) this.#keeper.release();
    };
    this.#keeper.keep(notify.fd);
    let interception: Interception;
    try {
      interception = new Interception(FdHandle.adopt(notify.steal(), sys), { berth, lease, sys, log, onEnded: end });
    } catch (error) {
      quota.refund("interceptions", uid);
      throw error;
    }
    this.#byLease.set(lease, interception);
    return undefined;
  }

  /** Answers none any more. Returns how many servers that leaves without bind. */
  close(): number {
    const count = this.#byLease.size;
    for (const interception of this.#byLease.values()) interception.close();
    this.#byLease.clear();
    this.#keeper.release();
    return count;
  }
}
