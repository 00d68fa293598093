/** The agent of one host: it serves what etcd assigns to the host, and says what the host has. */
import { once } from "node:events";
import { berthAdvice, berthState } from "berthd";
import type { TlsFiles } from "../etcd/channel.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { Fleet } from "../fleet/fleet.ts";
import type { BerthReport } from "../model/berth-report.ts";
import { isTable, type JsonObject } from "../model/fields.ts";
import type { HostRecord } from "../model/host.ts";
import type { Keys } from "../model/keys.ts";
import type { Assignment } from "../model/placement.ts";
import { ChunkStore, type ImageShelf, storeServer } from "../store/index.ts";
import { BerthFiles } from "./berth-files.ts";
import { BrokerLink } from "./broker-link.ts";
import { Copies } from "./copies/copies.ts";
import { Staging } from "./copies/staging.ts";
import { StateSocket } from "./copies/state-socket.ts";
import { HostEvents } from "./host-events.ts";
import { ImageFetches } from "./images/fetches.ts";
import { HostImages, type ImageStock } from "./images/host-images.ts";
import { ImageOffers } from "./images/offers.ts";
import { LostHosts } from "./lost-hosts.ts";
import { followOrders, type Orders } from "./orders.ts";
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
  /** Undefined: berths that have files do not move to this host or from it. */
  readonly files?: FilesOptions | undefined;
  /** The host as it is now. `own`: the berths that etcd assigns to it, and that it may serve. `stock`: its images. */
  readonly describe: (own: readonly Assignment[], stock: ImageStock | undefined) => HostRecord;
  /** A line for the log. */
  readonly say: (sentence: string) => void;
}

/** What an agent needs to move the files of berths. */
export interface FilesOptions {
  /** The UNIX socket of the program that reads and replaces them. */
  readonly stateSocket: string;
  /** Where archives are kept in chunks, and how many bytes of them. */
  readonly folder: string;
  readonly mostBytes: number;
  /** Where other agents fetch them. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly tls: Required<TlsFiles>;
}

/** Runs until the signal. Servers go on then. */
export async function runAgent(etcd: Etcd, keys: Keys, options: AgentOptions, signal: AbortSignal): Promise<void> {
  const { host, say } = options;
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  const files = new BerthFiles(options.folder, options.config);
  const broker = new BrokerLink(options.socket, () => {
    reconciler.look();
    reporter.look();
  });
  const events = new HostEvents(etcd, keys, host);
  const presence: Presence = new Presence(
    etcd,
    keys,
    host,
    options.ttl,
    () => options.describe(reconciler.allowed, images?.stock),
    {
      taken: () => {
        events.joined();
        reporter.forget();
        reconciler.look();
      },
      heldAgain: () => reconciler.look(),
      say,
    },
  );
  const reconciler = new Reconciler(
    files,
    broker,
    () => presence.lease !== undefined,
    { changed: () => reporter.look(), say },
    (one) => problemOf(one, options.rules),
    (one) => fetches.isReady(one),
  );
  const reports = (): BerthReport[] =>
    [...reconciler.wanted.values()].map((one) => reportOf(one, broker, reconciler, fetches));
  const reporter = new Reporter(etcd, keys, host, reports, () => presence.lease);
  const store = options.files && new ChunkStore(options.files.folder, options.files.mostBytes);
  const state = options.files && new StateSocket(options.files.stateSocket);
  const imagesChanged = (): void => {
    presence.look();
    fetches.look();
  };
  const images = options.files && state && new HostImages(state, options.files, imagesChanged, say);
  const tools = options.files &&
    store &&
    state && {
      ...{ store, tls: options.files.tls, state },
      staging: new Staging(files, broker, () => reconciler.look(), until),
      heldRoot: (berth: string, generation: number) => rootOf(reconciler, berth, generation),
      problemOf: (berth: string, root: JsonObject) => problemOf({ berth, config: { root } }, options.rules),
    };
  const copies = new Copies(etcd, keys, host, tools, () => presence.lease, say);
  const lost = new LostHosts(etcd, keys, new Fleet(etcd, keys), {
    marginMs: options.margin * 1000,
    lease: () => presence.lease,
    say,
  });

  const fetches: ImageFetches = new ImageFetches(
    tools && images && { ...tools, images },
    () => {
      reconciler.look();
      reporter.look();
    },
    say,
  );
  const offers = tools && images && new ImageOffers(tools.state, tools.store, images, say, until);

  using _ = store && options.files && (await served(store, options.files, say, offers));
  await images?.first((options.ttl * 1000) / 3, until);
  const all = [presence, broker, reconciler, reporter, lost, events, copies, fetches, ...(images ? [images] : [])];
  const parts = all.map((part) => part.run(until));
  try {
    const ordered = (now: Orders): void => {
      // First: a berth that comes here waits for its files.
      copies.wanted = now.copies;
      reconciler.order(now);
      fetches.wanted = reconciler.allowed;
    };
    const orders = followOrders(etcd, keys, host, ordered, say, until);
    await Promise.all([...parts, orders]);
  } finally {
    // A defect in one part ends them all.
    stop.abort();
    await Promise.allSettled(parts);
    await offers?.ended();
  }
}

async function served(
  store: ChunkStore,
  { listen, tls }: FilesOptions,
  say: (sentence: string) => void,
  images: ImageShelf | undefined,
): Promise<Disposable> {
  const server = storeServer(store, tls, say, images);
  server.listen(listen);
  try {
    await once(server, "listening");
  } catch (error) {
    const where = `${listen.host} port ${listen.port}`;
    throw new Fault("USAGE", `cannot listen on ${where}, of --store-listen: ${error}`, { cause: error });
  }
  return {
    [Symbol.dispose]: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** The root of a berth that this host holds; undefined: it may still have a server. */
function rootOf(reconciler: Reconciler, berth: string, generation: number): JsonObject | undefined {
  if (!reconciler.isHeld(berth, generation)) return undefined;
  const root = reconciler.wanted.get(berth)?.config["root"];
  return isTable(root) ? root : undefined;
}

function reportOf(
  assigned: Assignment,
  broker: BrokerLink,
  reconciler: Reconciler,
  fetches: ImageFetches,
): BerthReport {
  const { berth, generation } = assigned;
  if (reconciler.isHeld(berth, generation)) return { berth, generation, state: "held" };
  const refused = reconciler.why(berth, generation);
  if (refused !== undefined) return { berth, generation, state: "refused", why: refused };
  const record = broker.berths?.get(berth);
  const fetching = record === undefined ? fetches.reportOf(assigned) : undefined;
  if (fetching !== undefined) return { berth, generation, ...fetching };
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
