/**
 * Stops the servers of berths because somebody asks for it. A server that is a unit of systemd is stopped by systemd,
 * so that it is not started again. The sockets stay open.
 */
import { constants } from "node:os";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { STOP_CALLS } from "../access/limits/limits.ts";
import { type Berth, leaseView } from "../berths/berth/berth.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";
import type { LeaseView } from "../berths/berth/berth-view.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Berths } from "../berths/berths.ts";
import type { Requester, StopRefusal } from "../berths/request.ts";
import { maySignal, processesOf } from "../berths/server-processes.ts";
import { Ending, type EndingOptions, type EndingResult } from "./ending.ts";
import type { OnDemand } from "./on-demand.ts";
import type { Runner } from "./runner.ts";

const { SIGTERM } = constants.signals;

export interface StopsOptions {
  readonly berths: Berths;
  readonly sys: Native;
  readonly log: Log;
  readonly events: BerthEvents;
  readonly runner: Pick<Runner, "end">;
  readonly onDemand: Pick<OnDemand, "expectEnd" | "hold">;
  /** Milliseconds from the signal to SIGKILL, unless the berth says another time. */
  readonly stopTimeout: number;
}

/** What was stopped. Without a lease and a unit nobody had the berth. */
export interface Stopped {
  readonly kind: "stopped";
  readonly lease?: LeaseView;
  readonly unit?: string;
  readonly killed: boolean;
  /** Whether the next packet or connection starts the server again. */
  readonly again: boolean;
}

/** Why servers are stopped, and with whose rights. */
export interface StopCause {
  readonly privileged: boolean;
  readonly uid: number;
  /** For the log: a clause. */
  readonly why: string;
}

type OneStop = Omit<Stopped, "again"> | Extract<StopRefusal, { kind: "not-stopped" }>;

export class Stops {
  readonly #options: StopsOptions;
  /** Stops that are under way: a second call waits for the first one's end. */
  readonly #underWay = new Map<Lease, Promise<OneStop>>();
  readonly #endings = new Set<Ending>();
  /** How many calls wait for the end of a berth's server. Each keeps what it has of its caller. */
  readonly #waiting = new Map<Berth, number>();

  constructor(options: StopsOptions) {
    this.#options = options;
  }

  /** Resolves when all processes of the berth's server have ended, or cannot be ended. */
  async stop(name: string, who: Requester): Promise<Stopped | StopRefusal> {
    const berth = this.find(name, who);
    if ("kind" in berth) return berth;
    const waiting = this.#waiting.get(berth) ?? 0;
    if (!who.privileged && waiting >= STOP_CALLS) {
      const message = `${waiting} calls already wait until the server of berth ${name} has ended; wait for one of them`;
      return { kind: "limit", limit: "stops", message };
    }
    const leases = [berth.lease, berth.incoming].filter((lease) => lease !== undefined);
    const { pid, uid } = who.peer;
    const why = `pid ${pid} (uid ${uid}) asked to stop it`;
    this.#waiting.set(berth, waiting + 1);
    try {
      return await this.end(berth, leases, { privileged: who.privileged, uid, why });
    } finally {
      this.#answered(berth);
    }
  }

  #answered(berth: Berth): void {
    const left = (this.#waiting.get(berth) ?? 1) - 1;
    if (left === 0) this.#waiting.delete(berth);
    else this.#waiting.set(berth, left);
  }

  /** Ends these leases of a berth with their servers. Without any it ends a unit that is to take the berth. */
  async end(berth: Berth, leases: readonly Lease[], cause: StopCause): Promise<Stopped | StopRefusal> {
    const again = berth.spec.server.start === "on-demand";
    const release = this.#options.onDemand.hold(berth);
    let results: readonly OneStop[];
    try {
      results =
        leases.length === 0 ? [await this.#stopVacant(berth, cause)] : await this.#stopAll(berth, leases, cause);
    } finally {
      // The caller's next call comes first: a stop and an acquire in one go get the berth.
      setImmediate(release);
    }
    const failed = results.find((one) => one.kind === "not-stopped");
    if (failed !== undefined) return failed;
    const stopped = results.filter((one) => one.kind === "stopped");
    return { ...(stopped[0] ?? nothingToStop), killed: stopped.some(({ killed }) => killed), again };
  }

  /** Kills nobody any more. Servers that were asked to end may do so. */
  close(): void {
    for (const ending of this.#endings) ending.close();
  }

  /** The berth, if this caller may stop its server. Also one that is no longer configured, while it has a tenant. */
  find(name: string, who: Requester): Berth | StopRefusal {
    const { berths } = this.#options;
    const berth = berths.known(name);
    const leases = [berth?.lease, berth?.incoming].filter((lease) => lease !== undefined);
    const others = leases.find(({ tenant }) => tenant.uid !== who.peer.uid);
    if (who.privileged) return berth ?? { kind: "absent", berth: name };
    const isOwn = leases.length > 0 && others === undefined;
    if (berth === undefined || (!isOwn && !berths.visibility.mayTake(berth, who.peer)))
      return { kind: "denied", berth: name };
    return others === undefined ? berth : { kind: "not-yours", berth: name, lease: leaseView(others) };
  }

  /** Nobody has the berth, but its unit may be starting, or wait to be started again. */
  async #stopVacant({ name }: Berth, { privileged }: StopCause): Promise<OneStop> {
    const { runner } = this.#options;
    const done = privileged ? await runner.end(name, undefined) : ({ kind: "none" } as const);
    if (done.kind === "none") return nothingToStop;
    if (done.kind === "stopped") return { kind: "stopped", unit: done.unit, killed: false };
    const message = done.kind === "late" ? stillStopping(done.unit) : notStopped(done.unit, done.reason);
    return { kind: "not-stopped", berth: name, message };
  }

  #stopAll(berth: Berth, leases: readonly Lease[], { privileged, uid, why }: StopCause): Promise<OneStop[]> {
    const { log, onDemand, events } = this.#options;
    const fresh = leases.filter((lease) => !this.#underWay.has(lease));
    if (fresh.length > 0) {
      onDemand.expectEnd(berth);
      events.tell("stopping", berth);
    }
    for (const lease of fresh) {
      const { pid } = lease.tenant;
      const message = `berth ${berth.name}: ${why}; stopping pid ${pid}`;
      log("info", message, { event: "stopping", berth: berth.name, pid });
      const may = privileged ? undefined : (one: number): boolean => maySignal(uid, one, berth.range);
      const stop = this.#stopLease(berth, lease, may).finally(() => this.#underWay.delete(lease));
      this.#underWay.set(lease, stop);
    }
    return Promise.all(leases.flatMap((lease) => this.#underWay.get(lease) ?? []));
  }

  /** `may`: which processes this caller could end without the broker; all, if it is privileged. */
  async #stopLease(berth: Berth, lease: Lease, may: EndingOptions["may"]): Promise<OneStop> {
    const { name } = berth;
    const { log, runner } = this.#options;
    const view = leaseView(lease);
    const failed = (message: string): OneStop => ({ kind: "not-stopped", berth: name, lease: view, message });
    if (view.pid === process.pid) return failed("this broker's own process has it: end the lease there");
    if (may?.(view.pid) === false)
      return failed(`pid ${view.pid} is no process of yours any more; only root may end it`);
    const done = await runner.end(name, lease.tenant);
    if (done.kind === "late") return failed(stillStopping(done.unit));
    if (done.kind === "refused") {
      const message = `berth ${name}: ${notStopped(done.unit, done.reason)}`;
      log("warning", message, { event: "stop-failed", berth: name });
    }
    const unit = done.kind === "stopped" ? { unit: done.unit } : {};
    const result = await this.#end(berth, lease, may);
    switch (result.kind) {
      case "asked":
      case "killed":
        return { kind: "stopped", lease: view, ...unit, killed: result.kind === "killed" };
      case "closed":
        return failed("the broker ended meanwhile; stop it again");
      case "left":
        return failed(`pid ${result.pids.join(", ")} lives on after SIGKILL; /proc/${result.pids[0]}/wchan says where`);
      default:
        return result satisfies never;
    }
  }

  /** Asks the server to end, and kills what is left when that takes too long. */
  async #end(berth: Berth, lease: Lease, may: EndingOptions["may"]): Promise<EndingResult> {
    const { log, sys, stopTimeout } = this.#options;
    const { pidfd } = lease;
    if (pidfd === undefined) return { kind: "asked" };
    const { stopSignal: signal = SIGTERM, stopTimeout: seconds } = berth.spec.server;
    const timeout = seconds === undefined ? stopTimeout : seconds * 1000;
    const onKill = (): void => {
      const { pid } = lease.tenant;
      const message = `berth ${berth.name}: the server of pid ${pid} did not end within ${timeout / 1000} s; sent SIGKILL`;
      log("warning", message, { event: "killed", berth: berth.name, pid });
    };
    const ending = new Ending(lease, pidfd, {
      sys,
      signal,
      timeout,
      processes: () => processesOf(berth, lease),
      ...(may !== undefined && { may }),
      onKill,
    });
    this.#endings.add(ending);
    try {
      return await ending.done;
    } finally {
      this.#endings.delete(ending);
    }
  }
}

const nothingToStop: Omit<Stopped, "again"> = { kind: "stopped", killed: false };

function notStopped(unit: string, reason: string): string {
  return `systemd did not stop ${unit}: ${reason}`;
}

function stillStopping(unit: string): string {
  return `systemd is still stopping ${unit}; see: systemctl status ${unit}`;
}
