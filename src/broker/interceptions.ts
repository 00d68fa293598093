/** The servers whose binds are answered: one interception for each lease, kept until no process has the filter. */
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import type { Backup } from "./backup.ts";
import type { Berths } from "./berths.ts";
import { BindKeeper } from "./bind-keeper.ts";
import { type BindSource, Interception, isNotifyDescriptor } from "./interception.ts";
import type { Keeping } from "./keeping.ts";
import type { Log } from "./log.ts";
import type { Quota } from "./quota.ts";
import type { Refusal, Requester } from "./request.ts";

export interface InterceptionsOptions {
  readonly berths: Berths;
  readonly quota: Quota;
  readonly sys: Native;
  readonly log: Log;
  /** Where the notify descriptors outlive the broker, if they do: then nobody need stand in for it. */
  readonly keeping: Keeping | undefined;
}

/** What a server's binds are answered with: see {@link Interception}. */
interface Descriptors {
  readonly notify: FdHandle;
  readonly record: FdHandle | undefined;
  readonly backup: Backup | undefined;
}

/** One server, by the id of its lease. */
interface Served {
  readonly interception: Interception;
  readonly backup: Backup | undefined;
}

/** What is known of a berth that is no longer configured: nothing is its server's any more. */
const departed = (name: string): BindSource => ({ name, sockets: [], spec: { server: { otherBinds: "refuse" } } });

export class Interceptions {
  readonly #byLease = new Map<string, Served>();
  readonly #options: InterceptionsOptions;
  readonly #keeper: BindKeeper;

  constructor(options: InterceptionsOptions) {
    this.#options = options;
    this.#keeper = new BindKeeper(options.sys, options.log);
  }

  /** Begins to answer the binds that are reported on `notify`, for the lease's tenant; takes the descriptor over. */
  begin(id: string, notify: FdHandle, who: Requester): Refusal | undefined {
    const { berths, quota, keeping } = this.#options;
    const found = berths.leases.of(id, who);
    if ("kind" in found) return found;
    const { berth, lease } = found;
    if (!isNotifyDescriptor(notify.fd)) {
      return { kind: "unsuitable", name: "notify", message: "the descriptor is not one on which seccomp reports" };
    }
    if (this.#byLease.has(id)) {
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
    const kept = keeping?.keepBinds(berth.name, id, notify.fd);
    const record = kept?.record ?? this.#keeper.keep(notify.fd);
    try {
      const descriptors = { notify: notify.move(), record, backup: kept?.backup };
      this.#serve(id, descriptors, { berth, lease }, () => quota.refund("interceptions", uid));
    } catch (error) {
      kept?.backup.drop();
      quota.refund("interceptions", uid);
      throw error;
    }
    return undefined;
  }

  /** Goes on for a server that an earlier broker had answered. Takes the descriptors over. */
  restore(name: string, id: string, descriptors: Descriptors): void {
    const { berths, quota } = this.#options;
    const berth = berths.get(name) ?? departed(name);
    const lease = berths.leases.get(id);
    const uid = lease?.tenant.uid;
    const charged = uid !== undefined && quota.charge("interceptions", uid);
    const { notify, backup } = descriptors;
    const record = backup === undefined ? this.#keeper.keep(notify.fd, descriptors.record) : descriptors.record;
    this.#serve(id, { notify, record, backup }, { berth, lease: lease ?? { ended: true } }, () => {
      if (charged) quota.refund("interceptions", uid);
    });
  }

  /** Answers none any more. Returns how many servers that leaves without bind. */
  close(): number {
    let deserted = 0;
    for (const { interception, backup } of this.#byLease.values()) {
      interception.close();
      if (backup === undefined) deserted++;
    }
    this.#byLease.clear();
    this.#keeper.release();
    return deserted;
  }

  #serve(
    id: string,
    { notify, record, backup }: Descriptors,
    whose: { readonly berth: BindSource; readonly lease: { readonly ended: boolean } },
    onEnd: () => void,
  ): void {
    const { berths, sys, log } = this.#options;
    const kept = backup === undefined ? 0 : 2;
    const berth = berths.get(whose.berth.name);
    const end = (): void => {
      if (!this.#byLease.delete(id)) return;
      interception.close();
      backup?.drop();
      if (berth !== undefined) berth.keptBinds -= kept;
      onEnd();
      if (this.#byLease.size === 0) this.#keeper.release();
    };
    const interception = new Interception(notify, record, { ...whose, sys, log, onEnded: end });
    this.#byLease.set(id, { interception, backup });
    if (berth !== undefined) berth.keptBinds += kept;
  }
}
