/** Handles the sd_notify(3) messages of tenants. */
import type { FdHandle } from "../../fd.ts";
import type { Level, Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { TenantMessage } from "../../systemd/tenant-message.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";
import type { Lease } from "../berths/berth/lease.ts";
import { isSameOpenFile, isStashName, numberedName, shownName } from "../berths/berth/stash.ts";
import { TenantWatchdog } from "../berths/berth/tenant-watchdog.ts";
import type { Berths } from "../berths/berths.ts";
import type { Tenancy } from "../berths/leases.ts";
import type { Refusal, Speaker } from "../berths/request.ts";

/** The name of descriptors without FDNAME (sd_pid_notify_with_fds(3)). */
const UNNAMED = "stored";
/** Dropped descriptors logged for one lease at each level, so that a server cannot fill the log. */
const MAX_COMPLAINTS = 10;

export interface NoticesOptions {
  readonly berths: Berths;
  readonly sys: Native;
  readonly log: Log;
  readonly events: BerthEvents;
}

/** Duplicates each descriptor that it keeps. The caller closes the originals. */
export class TenantNotices {
  readonly #options: NoticesOptions;
  readonly #complaints = new WeakMap<Lease, Partial<Record<Level, number>>>();
  readonly #stopping = new WeakSet<Lease>();

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /** `refused` says why other descriptors of the message were not let through. */
  handle(tenancy: Tenancy, message: TenantMessage, fds: readonly FdHandle[], refused: readonly string[] = []): void {
    const { berth, lease } = tenancy;
    const { berths, log, events } = this.#options;
    const self: Speaker = { privileged: false, holds: (other) => other === lease };
    const { name = UNNAMED } = message;
    if (message.storeRemove && message.name !== undefined) {
      for (const key of [...berth.stash.keys()]) if (shownName(key) === name) berths.unstash(lease.id, key, self);
    }
    if (message.store) {
      for (const fd of fds) this.#store(tenancy, name, fd, self);
      for (const why of refused) this.#complain(tenancy, why);
    } else if (!message.barrier && fds.length + refused.length > 0) {
      this.#complain(tenancy, "it came without FDSTORE=1");
    }
    if (message.status !== undefined) berths.statuses.put(berth, lease, message.status);
    if (message.players !== undefined) {
      lease.said = message.players === "unknown" ? undefined : { ...message.players, at: Date.now() * 1000 };
      berths.reports.update(berth);
    }
    this.#watch(tenancy, message);
    // Descriptors of FDSTORE=1 stay until the server removes them.
    if (message.ready && !lease.ready) berths.ready(lease.id, self, "keep");
    if (!message.stopping || this.#stopping.has(lease)) return;
    this.#stopping.add(lease);
    log("info", `berth ${berth.name}: pid ${lease.tenant.pid} reports that it is stopping`, {
      event: "stopping",
      berth: berth.name,
      pid: lease.tenant.pid,
    });
    events.tell("stopping", berth);
  }

  /** Stashes another descriptor under a name, unless that one is already stashed under it. */
  #store({ berth, lease }: Tenancy, name: string, fd: FdHandle, self: Speaker): void {
    const message = `FDNAME=${JSON.stringify(name.slice(0, 80))} is not a name of 1 to 64 characters A-Z a-z 0-9 _ . -`;
    let refused: Refusal | undefined = { kind: "unsuitable", name, message };
    if (isStashName(name)) {
      let nth = 0;
      for (; ; nth++) {
        const known = berth.stash.get(numberedName(name, nth));
        if (known === undefined) break;
        if (isSameOpenFile(fd, known.handle, this.#options.sys))
          return this.#complain({ berth, lease }, `the berth has it already under the name ${name}`, "info");
      }
      refused = this.#options.berths.stash(lease.id, numberedName(name, nth), fd, self);
    }
    if (refused !== undefined && "message" in refused) this.#complain({ berth, lease }, refused.message);
  }

  /** Logs why a descriptor is dropped. What is no fault of the server is counted apart: it must not hide a refusal. */
  #complain({ berth, lease }: Tenancy, why: string, level: Level = "warning"): void {
    const known = this.#complaints.get(lease) ?? {};
    const complaints = (known[level] ?? 0) + 1;
    if (complaints > MAX_COMPLAINTS) return;
    this.#complaints.set(lease, { ...known, [level]: complaints });
    const { pid } = lease.tenant;
    const more = complaints === MAX_COMPLAINTS ? "; further ones are not logged" : "";
    this.#options.log(level, `berth ${berth.name}: a descriptor of pid ${pid} is not kept: ${why}${more}`, {
      event: "stash-refused",
      berth: berth.name,
      pid,
    });
  }

  #watch({ berth, lease }: Tenancy, message: TenantMessage): void {
    const { watchdogTime, watchdog, ready, stopping } = message;
    const { watchdog: configured = 0 } = berth.spec.server;
    // The watchdog begins with the first message about it or READY=1: a server may take long to start.
    const begins = ready || watchdog !== undefined || watchdogTime !== undefined;
    if (begins) lease.watchdog ??= new TenantWatchdog(berth.name, lease, configured * 1000, this.#options.log);
    if (watchdogTime !== undefined) lease.watchdog?.change(watchdogTime / 1000);
    if (watchdog === "alive") lease.watchdog?.alive();
    if (watchdog === "trigger") lease.watchdog?.kill("reported an internal error (WATCHDOG=trigger)");
    if (stopping) lease.watchdog?.change(0);
  }
}
