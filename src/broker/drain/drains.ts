/**
 * The drains of all berths: who may ask for one, and what is recorded of it. A drain belongs to a lease. The broker
 * records it before it tells anyone, so the next broker goes on with it (test/broker/drain/drains.test.ts).
 */
import type { Native } from "../../native.ts";
import { DRAIN_CHANGES } from "../access/limits/limits.ts";
import { TokenBucket } from "../access/limits/token-bucket.ts";
import type { Berth } from "../berths/berth/berth.ts";
import { drainView, leaseView } from "../berths/berth/berth.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";
import type { DrainView, LeaseView } from "../berths/berth/berth-view.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Requester, StopRefusal } from "../berths/request.ts";
import type { OnDemand } from "../demand/on-demand.ts";
import type { Stops } from "../demand/stops.ts";
import { bootTime } from "../record/boot-time.ts";
import type { DrainFacts } from "../record/lease-facts.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import { type AnnounceOptions, announce, announceAgain } from "./announce.ts";
import { Drain, type DrainOptions } from "./drain.ts";
import { DEFAULT_DRAIN_LIMITS, type DrainLimits } from "./drain-step.ts";
import { Joins, type JoinsOptions } from "./joins.ts";
import { Refusals, type RefusalsOptions } from "./refusal/refusals.ts";
import type { Typist } from "./typist.ts";

export interface DrainsOptions extends Pick<DrainOptions, "log" | "isPaused">, AnnounceOptions, JoinsOptions {
  readonly sys: Native;
  readonly typist: Pick<Typist, "type" | "close">;
  readonly limits: Partial<DrainLimits> | undefined;
  readonly events: BerthEvents;
  readonly stops: Pick<Stops, "end" | "find" | "stop">;
  readonly onDemand: Pick<OnDemand, "expectEnd"> &
    Pick<DrainOptions, "connections" | "inquiries"> &
    Pick<RefusalsOptions, "doormen">;
}

/** What was begun. Without a drain nobody had the berth. */
export interface Begun {
  readonly kind: "begun";
  readonly drain?: DrainView;
  readonly lease?: LeaseView;
  readonly unit?: string;
}

/** What was cancelled, if there was a drain. */
export interface Cancelled {
  readonly kind: "cancelled";
  readonly drain?: DrainView;
}

export class Drains {
  readonly #options: DrainsOptions;
  readonly #byBerth = new Map<Berth, Drain>();
  readonly #joins: Joins;
  readonly #refusals: Refusals;
  /** What is being done to a drain: the next call waits for it. */
  readonly #turns = new Map<Berth, Promise<void>>();
  /** The sockets at which joins are held back, or are about to be. */
  readonly #held = new WeakMap<Lease, readonly NamedSocket[]>();
  /** Each change is logged, recorded and told to all who watch. */
  readonly #changes = new WeakMap<Lease, TokenBucket>();

  constructor(options: DrainsOptions) {
    this.#options = options;
    const { events, onDemand } = options;
    this.#joins = new Joins(options);
    this.#refusals = new Refusals({
      sys: options.sys,
      doormen: onDemand.doormen,
      onBroken: (berth, lease) => this.#holdAgain(berth, lease),
    });
    // Before the end of the lease is seen as a failure: a server may end by itself once it is told.
    events.record((_, berth) => {
      const drain = this.#byBerth.get(berth);
      if (drain === undefined || !drain.lease.ended) return;
      this.#forget(berth);
      const { lease } = berth;
      if (lease === undefined) onDemand.expectEnd(berth);
      // Another tenant has taken the berth over. Without one, the repair lets joins in.
      else if (drain.lease.drain?.queues === true) void this.#inTurn(berth, () => this.#joins.letIn(berth, lease));
    });
    events.observe((event, berth) => {
      const drain = this.#byBerth.get(berth);
      if (event === "players") drain?.look();
      // A reload may have given it other sockets. One that was opened again has no filter.
      const isOther = drain !== undefined && !areSame(berth.sockets, this.#held.get(drain.lease) ?? []);
      if (event === "repaired" || (event === "changed" && isOther)) this.#holdAgain(berth, drain?.lease);
    });
  }

  /**
   * Goes on with the drains of an earlier broker. That one may have been killed while it let joins in again, with no
   * drain on record any more.
   */
  resume(berths: readonly Berth[]): void {
    for (const berth of berths) {
      const { lease } = berth;
      if (lease === undefined) continue;
      if (lease.drain === undefined) {
        if (berth.spec.server.drain !== "serve") void this.#inTurn(berth, () => this.#letIn(berth, lease));
        continue;
      }
      this.#byBerth.set(berth, this.#make(berth, lease.drain, lease));
      if (lease.drain.queues === true) void this.#inTurn(berth, () => this.#holdJoins(berth, lease));
    }
  }

  /**
   * `within`: seconds. A berth that drains gets the new deadline, and its server is told of it at the next mark of the
   * countdown. A user may bring the deadline of root's drain forward, and not put it off.
   */
  async begin(name: string, who: Requester, within: number | undefined): Promise<Begun | StopRefusal> {
    const { stops } = this.#options;
    const berth = stops.find(name, who);
    if ("kind" in berth) return berth;
    const { lease } = berth;
    if (lease === undefined) {
      const done = await stops.stop(name, who);
      if (done.kind !== "stopped") return done;
      return { kind: "begun", ...(done.unit !== undefined && { unit: done.unit }) };
    }
    return this.#tooOften(berth, who) ?? (await this.#inTurn(berth, () => this.#drain(berth, lease, who, within)));
  }

  /**
   * Resolves when new joins come in again. The record of the drain ends after that. So a broker that is killed between
   * the two leaves no filter without a drain.
   */
  async cancel(name: string, who: Requester): Promise<Cancelled | StopRefusal> {
    const berth = this.#options.stops.find(name, who);
    if ("kind" in berth) return berth;
    const refused = this.#tooOften(berth, who);
    if (refused !== undefined) return refused;
    return await this.#inTurn(berth, async () => {
      const { lease } = berth;
      if (lease?.drain === undefined) return { kind: "cancelled" };
      if (isAbove(lease.drain, who)) return { kind: "drained-by", berth: berth.name, uid: lease.drain.uid };
      if (this.#byBerth.get(berth)?.isStopping === true)
        return { kind: "stopping", berth: berth.name, lease: leaseView(lease) };
      const drain = drainView(lease.drain, lease.joins);
      this.#log(berth, `pid ${who.peer.pid} (uid ${who.peer.uid}) cancelled its drain; its server goes on`);
      await this.#over(berth, lease);
      return { kind: "cancelled", drain };
    });
  }

  /** Stops nothing any more. The records stay: the next broker goes on. */
  close(): void {
    for (const berth of [...this.#byBerth.keys()]) this.#forget(berth);
    this.#joins.close();
    this.#refusals.close();
    this.#options.typist.close();
  }

  #make(berth: Berth, facts: DrainFacts, lease: Lease): Drain {
    const { onDemand } = this.#options;
    return new Drain(berth, lease, facts, {
      ...this.#options,
      connections: onDemand.connections,
      inquiries: onDemand.inquiries,
      limits: { ...DEFAULT_DRAIN_LIMITS, ...this.#options.limits },
      onFailed: () => void this.#inTurn(berth, () => this.#failed(berth, lease)),
      onMark: (now) => announceAgain(berth, lease, now, this.#options),
    });
  }

  async #drain(
    berth: Berth,
    lease: Lease,
    who: Requester,
    within: number | undefined,
  ): Promise<Begun | Extract<StopRefusal, { kind: "drained-by" }>> {
    if (lease.ended) return { kind: "begun" };
    const known = lease.drain;
    const deadline = within === undefined ? undefined : bootTime() + within * 1000;
    const keeps = known !== undefined && isAbove(known, who);
    if (keeps && (deadline ?? Number.POSITIVE_INFINITY) > (known.deadline ?? Number.POSITIVE_INFINITY))
      return { kind: "drained-by", berth: berth.name, uid: known.uid };
    const { drain: mode } = berth.spec.server;
    const queues = known === undefined ? mode !== "serve" : known.queues === true;
    const refuses = known === undefined ? mode === "refuse" : known.refuses === true;
    const facts: DrainFacts = {
      began: known?.began ?? Date.now() * 1000,
      deadline,
      uid: keeps ? known.uid : who.peer.uid,
      privileged: keeps || who.privileged,
      ...(queues && { queues }),
      ...(refuses && { refuses }),
    };
    lease.drain = facts;
    this.#log(berth, `pid ${who.peer.pid} (uid ${who.peer.uid}) asked to drain it; ${endOf(within)}`);
    this.#options.events.change("changed", berth);
    if (known === undefined) announce(berth, lease, facts, this.#options);
    const drain = this.#byBerth.get(berth);
    if (drain === undefined) this.#byBerth.set(berth, this.#make(berth, facts, lease));
    else drain.change(facts);
    this.#refusals.change(lease);
    if (queues && known === undefined) await this.#holdJoins(berth, lease);
    return { kind: "begun", drain: drainView(facts, lease.joins), lease: leaseView(lease) };
  }

  async #holdJoins(berth: Berth, lease: Lease): Promise<void> {
    if (lease.ended || lease.drain === undefined) return;
    this.#held.set(lease, berth.sockets);
    const unrefused = lease.drain.refuses === true ? this.#refusals.begin(berth, lease) : undefined;
    lease.joins = await this.#joins.hold(berth, lease, unrefused);
    if (!lease.ended) this.#options.events.tell("changed", berth);
  }

  /** Its sockets are others than when joins were held back. Once, whatever tells of it. */
  #holdAgain(berth: Berth, lease: Lease | undefined): void {
    if (lease?.drain?.queues !== true || !this.#held.delete(lease)) return;
    void this.#inTurn(berth, async () => {
      if (this.#byBerth.get(berth)?.lease === lease) await this.#holdJoins(berth, lease);
    });
  }

  /** Unless another drain has begun. */
  async #letIn(berth: Berth, lease: Lease): Promise<void> {
    if (!lease.ended && lease.drain === undefined) await this.#joins.letIn(berth, lease);
  }

  /** Its server cannot be stopped. */
  async #failed(berth: Berth, lease: Lease): Promise<void> {
    if (this.#byBerth.get(berth)?.lease === lease) await this.#over(berth, lease);
  }

  /** The server goes on. */
  async #over(berth: Berth, lease: Lease): Promise<void> {
    this.#forget(berth);
    if (lease.drain?.queues === true) await this.#joins.letIn(berth, lease);
    lease.drain = undefined;
    lease.joins = undefined;
    if (!lease.ended) this.#options.events.change("changed", berth);
  }

  /** Why this user must wait before the drain changes again. */
  #tooOften({ name, lease }: Berth, { privileged }: Requester): Extract<StopRefusal, { kind: "limit" }> | undefined {
    if (privileged || lease === undefined) return undefined;
    const now = performance.now();
    const bucket = this.#changes.get(lease) ?? new TokenBucket(DRAIN_CHANGES, now);
    this.#changes.set(lease, bucket);
    if (bucket.take(now)) return undefined;
    const message = `the drain of berth ${name} changes too often; one change a second is plenty`;
    return { kind: "limit", limit: "drains", message };
  }

  /** One after another for each berth. */
  async #inTurn<T>(berth: Berth, act: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(berth) ?? Promise.resolve();
    const done = before.then(act);
    const turn = done.then(ignore, ignore);
    this.#turns.set(berth, turn);
    try {
      return await done;
    } finally {
      if (this.#turns.get(berth) === turn) this.#turns.delete(berth);
    }
  }

  #forget(berth: Berth): void {
    const drain = this.#byBerth.get(berth);
    if (drain === undefined) return;
    drain.close();
    this.#refusals.end(drain.lease);
    this.#byBerth.delete(berth);
  }

  #log(berth: Berth, what: string): void {
    this.#options.log("info", `berth ${berth.name}: ${what}`, { event: "drain", berth: berth.name });
  }
}

function ignore(): void {}

function areSame(some: readonly NamedSocket[], others: readonly NamedSocket[]): boolean {
  return some.length === others.length && some.every(({ socket }, at) => others[at]?.socket === socket);
}

/** Whether root or the broker's own user asked for the drain, and the caller is neither. */
function isAbove(drain: DrainFacts, who: Requester): boolean {
  return drain.privileged && !who.privileged;
}

function endOf(within: number | undefined): string {
  return within === undefined
    ? "it is stopped once nobody plays"
    : `it is stopped once nobody plays, at the latest in ${within} s`;
}
