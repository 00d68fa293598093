/**
 * Watches a tenancy's own berth, over a connection of its own: what the broker says of it becomes the events of the
 * tenancy. When the connection ends, because the broker has restarted, it connects again. It never keeps the process
 * alive.
 */
import { setTimeout } from "node:timers/promises";
import { BerthError } from "../errors.ts";
import type { VarlinkClient } from "../varlink/client.ts";
import { isObject } from "../varlink/json.ts";

/**
 * replaced: another tenant has taken the berth over. removed: the berth is no longer configured, or the lease was ended
 * by somebody else. After these the lease has ended. outdated: the configuration of the berth has changed; acquire it
 * again to get its new sockets. draining: the server is to end, once nobody plays or at a deadline. drain-cancelled: it
 * is not to end any more.
 */
export type TenancyEvent = "replaced" | "removed" | "outdated" | "draining" | "drain-cancelled";

export interface Watched {
  readonly berth: string;
  readonly lease: string;
  readonly connect: (signal: AbortSignal) => Promise<VarlinkClient>;
  readonly tell: (event: TenancyEvent, reason: BerthError) => void;
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

  #look({ lease, state, outdated, drain }: Readonly<Record<string, unknown>>): void {
    if (this.over) return;
    if (isObject(lease) && lease["id"] === this.#watched.lease) {
      this.#present = true;
      if (outdated === true && !this.#outdated)
        this.#tell("outdated", "its configuration has changed; acquire it again to get its new sockets");
      this.#outdated = outdated === true;
      this.#lookAtDrain(isObject(drain) ? drain : undefined);
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

  #end(event: "replaced" | "removed", why: string): void {
    if (this.over) return;
    this.over = true;
    this.#tell(event, why);
  }

  #tell(event: TenancyEvent, why: string): void {
    this.#watched.tell(event, new BerthError("TENANCY_CHANGED", `berth ${this.#watched.berth}: ${why}`));
  }
}
