/** The servers with bind delivery: one interception for each lease, until no process has the filter any more. */
import { setTimeout } from "node:timers/promises";
import { BerthError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { describeUser, type Quota } from "../access/limits/quota.ts";
import { networkOf } from "../access/network.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";
import type { BerthEvent } from "../berths/berth/berth-view.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Berths } from "../berths/berths.ts";
import { tellRepairs } from "../berths/repairs/tell-repairs.ts";
import type { Refusal, Requester } from "../berths/request.ts";
import type { Guard } from "../guard/guard.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import type { StoredLease } from "../record/stored-name.ts";
import { BindFallback } from "./bind-fallback.ts";
import type { BindStore } from "./bind-store.ts";
import { Interception, type InterceptionOptions, isNotifyDescriptor, NO_LISTENER } from "./interception.ts";
import { departed } from "./offers.ts";

export interface InterceptionsOptions {
  readonly berths: Berths;
  readonly quota: Quota;
  readonly sys: Native;
  readonly guard: Pick<Guard, "run" | "spend" | "close">;
  readonly log: Log;
  readonly events: BerthEvents;
  /** A store that keeps notify descriptors beyond this broker: then no fallback is needed. */
  readonly store: BindStore | undefined;
}

/** The descriptors of one server: see {@link Interception}. */
interface Descriptors {
  readonly notify: FdHandle;
  readonly record: FdHandle | undefined;
  readonly storedCopy: StoredCopy | undefined;
  /** Whether the fallback already has them. */
  readonly isKept?: boolean;
}

/** Further filters of one server. */
const MAX_JOINED = 16;
/** How long a pause waits for calls that are being answered, and how often it checks. */
const PAUSE_TIMEOUT_MS = 1000;
const POLL_INTERVAL_MS = 1;

/** They change nothing of what a server may get; a tenant causes some as often as it likes. */
const TRIFLES: ReadonlySet<BerthEvent> = new Set(["status", "stopping", "repaired"]);

/** One server, by the id of its lease. */
interface Served {
  readonly berth: string;
  readonly interception: Interception;
  readonly storedCopy: StoredCopy | undefined;
  /** Ends the interception and drops its stored copy. */
  readonly end: () => void;
}

export class Interceptions {
  readonly #byLease = new Map<string, Served>();
  readonly #ofBerth = new Map<string, ReadonlySet<Interception>>();
  readonly #options: InterceptionsOptions;
  readonly #fallback: BindFallback;

  constructor(options: InterceptionsOptions) {
    this.#options = options;
    this.#fallback = new BindFallback(options.sys, options.log);
    options.events.observe((event, berth) => {
      if (TRIFLES.has(event)) return;
      for (const served of this.#ofBerth.get(berth.name) ?? []) served.renew();
    });
  }

  /** Whether the binds of that lease's server are answered. */
  has(id: string): boolean {
    return this.#byLease.has(id);
  }

  /** From now on answers the binds reported on `notify`, for the tenant of the lease. Owns the descriptor. */
  begin(id: string, notify: FdHandle, who: Requester): Refusal | undefined {
    const { berths, quota, store } = this.#options;
    const found = berths.leases.of(id, who);
    if ("kind" in found) return found;
    const { berth, lease } = found;
    if (!isNotifyDescriptor(notify.fd)) {
      return { kind: "unsuitable", name: "notify", message: NO_LISTENER };
    }
    if (this.#byLease.has(id)) {
      return { kind: "limit", limit: "interceptions", message: `the binds of lease ${id} are answered already` };
    }
    const { uid } = lease.tenant;
    const account = quota.accountOf(uid);
    if (!quota.charge("interceptions", account)) {
      return {
        kind: "limit",
        limit: "interceptions",
        message: `${describeUser(uid, account)} has ${quota.limits.interceptions} servers with bind delivery`,
      };
    }
    const kept = store?.keepBinds(berth.name, id, notify.fd);
    const record = kept?.record ?? this.#fallback.keep(notify.fd);
    try {
      const descriptors = { notify: notify.move(), record, storedCopy: kept?.storedCopy };
      this.#serve(id, descriptors, { berth, lease, network: networkAtLaunch(lease), isRestored: false }, () =>
        quota.refund("interceptions", account),
      );
    } catch (error) {
      kept?.storedCopy.drop();
      quota.refund("interceptions", account);
      throw error;
    }
    return undefined;
  }

  /**
   * Answers also the binds reported on this other `notify`, for the same server. Owns the descriptor. The next broker
   * does not answer them.
   */
  join(id: string, notify: FdHandle): Refusal | undefined {
    const { berths, quota } = this.#options;
    const served = this.#byLease.get(id);
    const lease = berths.leases.get(id);
    if (served === undefined || lease === undefined) return { kind: "no-lease", lease: id };
    if (!isNotifyDescriptor(notify.fd)) return { kind: "unsuitable", name: "notify", message: NO_LISTENER };
    const { uid } = lease.tenant;
    const account = quota.accountOf(uid);
    if (served.interception.joined >= MAX_JOINED || !quota.charge("interceptions", account)) {
      return {
        kind: "limit",
        limit: "interceptions",
        message: `berth ${served.berth} or ${describeUser(uid, account)} has too many programs with bind delivery`,
      };
    }
    const refund = (): void => quota.refund("interceptions", account);
    try {
      served.interception.join(notify.move(), refund);
    } catch (error) {
      refund();
      throw error;
    }
    return undefined;
  }

  /** How many servers have bind delivery. */
  get size(): number {
    return this.#byLease.size;
  }

  /** Restores a server of an earlier broker. Owns the descriptors. */
  restore(name: string, id: string, descriptors: Descriptors): void {
    const { berths, quota } = this.#options;
    const berth = berths.known(name) ?? departed(name);
    const lease = berths.leases.get(id);
    const account = lease && quota.accountOf(lease.tenant.uid);
    const charged = account !== undefined && quota.charge("interceptions", account);
    const { notify, storedCopy } = descriptors;
    const isKept = storedCopy !== undefined || descriptors.isKept === true;
    const record = isKept ? descriptors.record : this.#fallback.keep(notify.fd, descriptors.record);
    const refund = (): void => {
      if (charged) quota.refund("interceptions", account);
    };
    try {
      const network = lease?.tenant.network;
      const whose = { berth, lease: lease ?? { ended: true }, network, isRestored: true };
      this.#serve(id, { notify, record, storedCopy }, whose, refund);
    } catch (error) {
      refund();
      throw error;
    }
  }

  /** Takes over the channel to the fallback of an earlier broker. */
  adoptFallback(channel: FdHandle): void {
    this.#fallback.adopt(channel);
  }

  /**
   * What a successor needs, borrowed, while all are paused: the channel to the fallback, and each server's descriptors.
   */
  get descriptors(): {
    readonly fallback: number | undefined;
    readonly servers: ReadonlyMap<StoredLease, readonly number[]>;
  } {
    const servers = Array.from(this.#byLease, ([lease, { berth, interception }]) => {
      return [{ berth, lease }, interception.descriptors] as const;
    });
    return { fallback: this.#fallback.fd, servers: new Map(servers) };
  }

  /**
   * Answers no binds until {@link resume}; the servers wait. Resolves when no call is being answered, or after a time
   * limit. Throws SYSTEM_ERROR when some could not be paused.
   */
  async pause(): Promise<void> {
    for (const { interception } of this.#byLease.values()) interception.pause();
    const end = performance.now() + PAUSE_TIMEOUT_MS;
    while ([...this.#byLease.values()].some(({ interception }) => !interception.resting) && performance.now() < end)
      await setTimeout(POLL_INTERVAL_MS);
  }

  resume(): void {
    for (const [id, { berth, interception, end }] of this.#byLease) {
      try {
        interception.resume();
      } catch (error) {
        if (!(error instanceof BerthError)) throw error;
        this.#options.log(
          "error",
          `berth ${berth}: the broker cannot answer the binds of its server: ${error.message}`,
          {
            event: "deserted",
            berth,
            lease: id,
          },
        );
        end();
      }
    }
  }

  /** Answers no more binds. Logs how many servers this leaves without bind, unless another broker answers them. */
  close(isReplaced = false): void {
    let unanswered = 0;
    for (const { interception, storedCopy } of this.#byLease.values()) {
      interception.close();
      if (storedCopy === undefined) unanswered++;
    }
    this.#byLease.clear();
    this.#ofBerth.clear();
    this.#fallback.release();
    if (unanswered === 0 || isReplaced) return;
    this.#options.log(
      "warning",
      `${unanswered} servers with bind delivery run on: they keep their sockets, but a new bind fails with EADDRNOTAVAIL`,
      {
        event: "deserted",
        servers: unanswered,
      },
    );
  }

  #serve(
    id: string,
    { notify, record, storedCopy }: Descriptors,
    whose: Pick<InterceptionOptions, "berth" | "lease" | "network" | "isRestored">,
    onEnd: () => void,
  ): void {
    const { berths, sys, guard, log, events } = this.#options;
    const kept = storedCopy === undefined ? 0 : 2;
    const berth = berths.known(whose.berth.name);
    const end = (): void => {
      if (!this.#byLease.delete(id)) return;
      this.#file(whose.berth.name, interception, false);
      interception.close();
      storedCopy?.drop();
      if (berth !== undefined) berth.keptBinds -= kept;
      onEnd();
      if (this.#byLease.size === 0) this.#fallback.release();
    };
    const onReopened = (socket: string, sentences: readonly string[]): void => {
      if (berth !== undefined) tellRepairs(berth, socket, sentences, { log, events });
    };
    // Only a drain had set anything on it.
    const onCleaned = (): void => {
      if (berth?.lease?.drain?.queues === true) events.tell("repaired", berth);
    };
    const onEnded = (): void => {
      end();
      if (lease?.others !== undefined) lease.others = () => "none";
      berths.mains.look(id);
    };
    const interception = new Interception(notify, record, {
      ...whose,
      ...{ sys, guard, log, onReopened, onCleaned, onEnded },
    });
    this.#byLease.set(id, { berth: whose.berth.name, interception, storedCopy, end });
    this.#file(whose.berth.name, interception, true);
    if (berth !== undefined) berth.keptBinds += kept;
    const lease = berths.leases.get(id);
    if (lease === undefined || berth?.spec.server.lease !== "server") return;
    lease.others = () => {
      if (this.#byLease.get(id)?.interception !== interception) return "unknown";
      return interception.isAlive ? "some" : "none";
    };
  }

  #file(berth: string, interception: Interception, isServed: boolean): void {
    const others = [...(this.#ofBerth.get(berth) ?? [])].filter((one) => one !== interception);
    const now = isServed ? [...others, interception] : others;
    if (now.length > 0) this.#ofBerth.set(berth, new Set(now));
    else this.#ofBerth.delete(berth);
  }
}

/** Noted with the lease if the berth had bind delivery then; it may have got that by a reload meanwhile. */
function networkAtLaunch({ tenant: { network, pid } }: Lease): number | undefined {
  return network ?? networkOf(pid);
}
