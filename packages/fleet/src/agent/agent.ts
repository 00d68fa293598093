/** The agent of one host: it serves what etcd assigns to the host, and says what the host has. */
import { berthAdvice, berthState } from "berthd";
import type { Etcd } from "../etcd/etcd.ts";
import { Fleet } from "../fleet/fleet.ts";
import type { BerthReport } from "../model/berth-report.ts";
import type { HostRecord } from "../model/host.ts";
import type { Keys } from "../model/keys.ts";
import type { Assignment } from "../model/placement.ts";
import { BerthFiles } from "./berth-files.ts";
import { BrokerLink } from "./broker-link.ts";
import { HostEvents } from "./host-events.ts";
import { LostHosts } from "./lost-hosts.ts";
import { followOrders } from "./orders.ts";
import { Presence } from "./presence.ts";
import { Reconciler } from "./reconciler.ts";
import { Reporter } from "./reporter.ts";
import { problemOf, type Rules } from "./rules/rules.ts";

export interface AgentOptions {
  readonly host: string;
  /** Of the berth files; the broker reads it. */
  readonly folder: string;
  /** The broker's other folders of berth files. */
  readonly config: readonly string[];
  /** The broker's socket; undefined: the usual places. */
  readonly socket: string | undefined;
  /** Seconds after which a host without a sign of life is gone. */
  readonly ttl: number;
  /** Seconds after that until its berths are placed elsewhere. */
  readonly margin: number;
  /** What etcd may decide for this host. */
  readonly rules: Rules;
  /** The host as it is now. `own`: the berths that etcd assigns to it, and that it may serve. */
  readonly describe: (own: readonly Assignment[]) => HostRecord;
  /** A line for the log. */
  readonly say: (sentence: string) => void;
}

/** Runs until the signal. Servers go on then. */
export async function runAgent(etcd: Etcd, keys: Keys, options: AgentOptions, signal: AbortSignal): Promise<void> {
  const { host, say } = options;
  const files = new BerthFiles(options.folder, options.config);
  const broker = new BrokerLink(options.socket, () => {
    reconciler.look();
    reporter.look();
  });
  const events = new HostEvents(etcd, keys, host);
  const presence: Presence = new Presence(etcd, keys, host, options.ttl, () => options.describe(reconciler.allowed), {
    taken: () => {
      events.joined();
      reporter.forget();
      reconciler.look();
    },
    heldAgain: () => reconciler.look(),
    say,
  });
  const reconciler = new Reconciler(
    files,
    broker,
    () => presence.lease !== undefined,
    { changed: () => reporter.look(), say },
    (one) => problemOf(one, options.rules),
  );
  const reports = (): BerthReport[] => [...reconciler.wanted.values()].map((one) => reportOf(one, broker, reconciler));
  const reporter = new Reporter(etcd, keys, host, reports, () => presence.lease);
  const lost = new LostHosts(etcd, keys, new Fleet(etcd, keys), options.margin * 1000, say);

  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  const parts = [presence, broker, reconciler, reporter, lost, events].map((part) => part.run(until));
  try {
    const orders = followOrders(etcd, keys, host, (now) => reconciler.order(now), say, until);
    await Promise.all([...parts, orders]);
  } finally {
    // A defect in one part ends them all.
    stop.abort();
    await Promise.allSettled(parts);
  }
}

function reportOf({ berth, generation }: Assignment, broker: BrokerLink, reconciler: Reconciler): BerthReport {
  if (reconciler.isHeld(berth, generation)) return { berth, generation, state: "held" };
  const refused = reconciler.why(berth, generation);
  if (refused !== undefined) return { berth, generation, state: "refused", why: refused };
  const record = broker.berths?.get(berth);
  if (record === undefined) return { berth, generation, state: broker.berths === undefined ? "no broker" : "waiting" };
  const why = berthAdvice(record) ?? (record.state === "vacant" ? reconciler.failureOf(berth) : undefined);
  const players = record.players?.count;
  const max = record.players?.max ?? undefined;
  const server = record.lease?.id;
  return {
    ...{ berth, generation, state: berthState(record) },
    ...(why !== undefined && { why }),
    ...(players !== undefined && { players }),
    ...(max !== undefined && { max }),
    ...(server !== undefined && { server }),
  };
}
