/**
 * Watches a tenancy's own berth, over a connection of its own: what the broker says of it becomes the events of the
 * tenancy. When the connection ends, because the broker has restarted, it connects again. It never keeps the process
 * alive.
 */
import { setTimeout } from "node:timers/promises";
import { BerthError } from "../errors.ts";
import type { VarlinkClient } from "../varlink/client.ts";
import { isObject } from "../varlink/json.ts";
import { descriptorNames, newcomerOf } from "./handover/note.ts";

/**
 * replaced: another tenant has taken the berth over. removed: the berth is no longer configured, or the lease was ended
 * by somebody else. After these the lease has ended. outdated: the configuration of the berth has changed; acquire it
 * again to get its new sockets. draining: the server is to end, once nobody plays or at a deadline. drain-cancelled: it
 * is not to end any more. handover: a newcomer takes the berth over, and asks for the connections. resumed: that
 * newcomer has gone before it was ready.
 */
export type TenancyEvent =
  | "replaced"
  | "removed"
  | "outdated"
  | "draining"
  | "drain-cancelled"
  | "handover"
  | "resumed";

export interface Watched {
  readonly berth: string;
  readonly lease: string;
  readonly connect: (signal: AbortSignal) => Promise<VarlinkClient>;
  /** `newcomer`, of a handover: the lease that asks. */
  readonly tell: (event: TenancyEvent, reason: BerthError, newcomer?: string) => void;
}

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 5_000;

/** Watches until the lease has ended, or until the signal. Never throws. */
export async function watchTenancy(watched: Watched, signal: AbortSignal): Promise<void> {
  const judge = new Judge(watched);
  for (let wait = RETRY_FIRST_MS; !signal.aborted && !judge.over; wait = Math.min(wait * 2, RETRY_MAX_MS)) {
    try {
      using client = await watched.connect(signal);
      client.unref();
      // Pipelined: a berth that is gone by now has no event.
      const list = client.call("io.berthd.Broker.List", {}, { signal });
      const events = client.stream("io.berthd.Broker.Watch", {}, { signal });
      const next = events.next();
      next.catch(() => undefined);
      using all = await list;
      judge.list(all.parameters["berths"]);
      wait = RETRY_FIRST_MS;
      for (let event = await next; event.done !== true && !judge.over; event = await events.next())
        judge.event(event.value.parameters);
    } catch (error) {
      // No broker, or it has closed the connection: the next one is asked.
      if (!(error instanceof BerthError) && !signal.aborted) throw error;
    }
    if (!judge.over) await setTimeout(wait, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

/** Decides what the broker's descriptions of the berth mean for the lease. */
class Judge {
  over = false;
  readonly #watched: Watched;
  /** It has been the berth's lease, and not only that of a newcomer. */
  #present = false;
  #outdated = false;
  /** The drain that was told last. */
  #drain: string | undefined;
  /** The lease of the newcomer that has asked. */
  #newcomer: string | undefined;
  /** Newcomers that had asked and were gone before they were ready: what they stashed outlives them. */
  #gone: ReadonlySet<string> = new Set();

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  list(berths: unknown): void {
    if (!Array.isArray(berths)) return;
    const own = berths.find((berth: unknown) => isObject(berth) && berth["name"] === this.#watched.berth);
    if (isObject(own)) this.#look(own);
    else this.#end("removed", "it is no longer configured, or this process may no longer take it");
  }

  event({ event, berth }: Readonly<Record<string, unknown>>): void {
    if (!isObject(berth) || berth["name"] !== this.#watched.berth) return;
    if (event === "removed") this.#end("removed", "it is no longer configured");
    else this.#look(berth);
  }

  #look(berth: Readonly<Record<string, unknown>>): void {
    const { lease, state, outdated, drain } = berth;
    if (this.over) return;
    if (isObject(lease) && lease["id"] === this.#watched.lease) {
      this.#present = true;
      if (outdated === true && !this.#outdated)
        this.#tell("outdated", "its configuration has changed; acquire it again to get its new sockets");
      this.#outdated = outdated === true;
      this.#lookAtDrain(isObject(drain) ? drain : undefined);
      const asking = newcomersOf(berth, this.#watched.lease);
      if (state !== "handover") this.#gone = new Set(asking);
      this.#lookForNewcomer(state === "handover" ? asking.filter((lease) => !this.#gone.has(lease)) : []);
      return;
    }
    // A newcomer's lease is not shown before it is ready.
    if (state === "handover" && !this.#present) return;
    if (isObject(lease)) this.#end("replaced", `pid ${String(lease["pid"])} has taken it over`);
    else this.#end("removed", "the lease was ended by somebody else");
  }

  /** A drain is told when it begins, and again when its deadline is another. */
  #lookAtDrain(drain: Readonly<Record<string, unknown>> | undefined): void {
    const { deadline } = drain ?? {};
    const known = this.#drain;
    this.#drain = drain && String(deadline ?? "");
    if (this.#drain === known) return;
    if (this.#drain === undefined) return this.#tell("drain-cancelled", "its drain was cancelled: the server goes on");
    const latest = typeof deadline === "number" ? `, at the latest at ${new Date(deadline / 1000).toISOString()}` : "";
    this.#tell("draining", `its server is stopped once nobody plays${latest}`);
  }

  /** If several ask, the last one is the present one. */
  #lookForNewcomer(asking: readonly string[]): void {
    const newcomer = asking.at(-1);
    if (newcomer === this.#newcomer) return;
    if (this.#newcomer !== undefined) this.#tell("resumed", "the process that was to take it over is gone");
    this.#newcomer = newcomer;
    if (newcomer !== undefined)
      this.#tell("handover", "another process takes it over, and asks for its connections", newcomer);
  }

  #end(event: "replaced" | "removed", why: string): void {
    if (this.over) return;
    this.over = true;
    this.#tell(event, why);
  }

  #tell(event: TenancyEvent, why: string, newcomer?: string): void {
    this.#watched.tell(event, new BerthError("TENANCY_CHANGED", `berth ${this.#watched.berth}: ${why}`), newcomer);
  }
}

/** The leases other than its own that ask for the connections of a berth, the last one last. */
function newcomersOf(berth: Readonly<Record<string, unknown>>, own: string): string[] {
  return descriptorNames(berth)
    .map(newcomerOf)
    .filter((lease) => lease !== undefined)
    .filter((lease) => lease !== own);
}
