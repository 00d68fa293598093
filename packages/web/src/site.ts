/**
 * What this process knows and shows: it joins the broker's events, its measurements, the history and the open pages.
 * Its timer measures, asks who plays, and sends patches.
 */
import { userInfo } from "node:os";
import type { BerthEventRecord, Metric } from "berthd";
import type { BerthRow, Overview } from "./api/shapes.ts";
import { BrokerLink } from "./broker/link.ts";
import { History } from "./history/history.ts";
import { readSparks, timelineOf } from "./history/series.ts";
import type { Sql } from "./history/sql.ts";
import { type Body, jsonBody } from "./http/answer.ts";
import type { Streams } from "./http/streams.ts";
import { Berths } from "./model/berths.ts";
import { HostFacts, ownAddress } from "./model/host.ts";
import { measuredOf } from "./model/measured.ts";
import { patchOf } from "./model/patch.ts";
import { type Place, rowOf } from "./model/row.ts";
import { Users } from "./model/users.ts";
import { PeersThread } from "./peers/peers-thread.ts";
import type { ThreadStart } from "./peers/thread-messages.ts";
import { PlayersOfBerths } from "./players/players-of-berths.ts";
import { TimelineFeed } from "./timeline-feed.ts";

export interface SiteOptions {
  readonly host: string;
  readonly socket: string | undefined;
  readonly address: string | undefined;
  readonly publicBerths: ReadonlyMap<string, string>;
  /** Other hosts that the page shows as well. */
  readonly peers?: ThreadStart;
}

const NO_PEERS: ThreadStart = { places: [], tls: { ca: undefined, cert: undefined, key: undefined } };
/** Milliseconds between two looks at what changes by itself, and at least between two patches. */
const TICK_MS = 1_000;
/** Milliseconds until a patch that follows an event: several come together. */
const SOON_MS = 50;
/** Milliseconds between two measurements: of a host with few berths, and of one with many. */
const SAMPLE_MS = 10_000;
const SAMPLE_MANY_MS = 30_000;
const MANY = 100;
/** How long measurements are good for a second asker. */
const FRESH_MS = 1_000;

export class Site {
  readonly berths: Berths;
  readonly facts: HostFacts;
  readonly place: Place;
  readonly publicBerths: ReadonlyMap<string, string>;
  readonly history: History | undefined;
  readonly peers: PeersThread;
  readonly #streams: Streams;
  readonly #link: BrokerLink;
  readonly #players: PlayersOfBerths;
  readonly #feed: TimelineFeed;
  readonly #timer: NodeJS.Timeout;
  #shown: Overview;
  #body: Body | undefined;
  #firstEvent: Buffer | undefined;
  #patchedAt = 0;
  #soon: NodeJS.Timeout | undefined;
  #sampledAt = 0;
  #sampling = false;
  #metrics: { readonly at: number; readonly answer: Promise<readonly Metric[]> } | undefined;

  constructor(options: SiteOptions, streams: Streams, history: History | undefined) {
    const users = new Users();
    this.berths = new Berths(users);
    this.facts = new HostFacts(options.host);
    this.facts.unreachableSince = Date.now();
    this.place = { host: options.host, address: options.address ?? ownAddress(), users };
    this.publicBerths = options.publicBerths;
    this.history = history;
    this.#streams = streams;
    this.#link = new BrokerLink(options.socket, {
      event: (record) => this.#event(record),
      connected: () => this.#connected(),
      lost: (why, nextTry) => this.#lost(why, nextTry),
    });
    this.#players = new PlayersOfBerths(this.berths, this.#link);
    this.#feed = new TimelineFeed({
      keep: async (happened) => history?.happened(happened),
      show: (happened) => streams.send("timeline", JSON.stringify(happened)),
    });
    this.peers = new PeersThread(options.peers ?? NO_PEERS, {
      timeline: (happened) => streams.send("timeline", JSON.stringify(happened)),
      say: (message) => console.error("berth-web: %s", message),
    });
    this.#shown = this.#overview(Date.now());
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#link.start();
    this.peers.start();
  }

  static async openHistory(sql: Sql | undefined): Promise<History | undefined> {
    return sql === undefined ? undefined : History.open(sql, (message) => console.error("berth-web: %s", message));
  }

  /** As of the last tick; what pages have. */
  get shown(): Overview {
    return this.#shown;
  }

  /** Shared by all who ask for it within a tick. */
  get shownBody(): Body {
    this.#body ??= jsonBody(this.#shown);
    return this.#body;
  }

  /** The first event of every stream that begins within a tick: also the bytes are shared. */
  get shownEvent(): Buffer {
    this.#firstEvent ??= this.#streams.event("state", this.shownBody.bytes.toString("utf8"));
    return this.#firstEvent;
  }

  /** Of a berth of this host. */
  rowOf(name: string): BerthRow | undefined {
    return this.#shown.berths.find((row) => row.host === this.place.host && row.name === name);
  }

  /** The berths of this host. */
  get ownRows(): readonly BerthRow[] {
    return this.#shown.berths.filter(({ host }) => host === this.place.host);
  }

  /** The broker's measurements, not older than a second. Throws where it does not answer. */
  metrics(): Promise<readonly Metric[]> {
    const now = performance.now();
    if (this.#metrics === undefined || now - this.#metrics.at > FRESH_MS) {
      this.#metrics = { at: now, answer: this.#link.measure() };
    }
    return this.#metrics.answer;
  }

  #event(record: BerthEventRecord): void {
    const at = Date.now();
    const { name } = record.berth;
    const isNew = this.berths.get(name) === undefined;
    const event = this.berths.apply(record, at);
    if (isNew) this.#restore(name, at);
    // A new server is measured before long.
    if (record.event === "acquired") this.#sampledAt = Math.min(this.#sampledAt, at - SAMPLE_MANY_MS + TICK_MS);
    this.#soon ??= setTimeout(() => this.#show(Date.now()), Math.max(SOON_MS, this.#patchedAt + TICK_MS - at));
    if (event !== undefined) void this.#feed.happened({ host: this.place.host, name }, event);
  }

  /** The sparkline of a berth that was there before this process, and since when it is as it is. */
  #restore(name: string, now: number): void {
    const known = this.berths.get(name);
    if (known === undefined || this.history === undefined) return;
    const berth = { host: this.place.host, name };
    Promise.all([readSparks(this.history, berth, now), timelineOf(this.history, berth, now, 1)])
      .then(([means, { events }]) => {
        for (const { at, mean } of means) known.players.restore(at, mean);
        known.since ??= events[0]?.at ?? null;
      })
      .catch((error: unknown) => console.error("berth-web: the history cannot be read:", error));
  }

  #connected(): void {
    if (this.facts.unreachableSince !== null) console.error("berth-web: the broker answers");
    this.facts.unreachableSince = null;
    this.facts.nextTry = null;
    this.#sampledAt = 0;
    this.#link
      .facts()
      .then(({ version, names }) => {
        this.facts.version = version;
        this.berths.keepOnly(names);
        if (names.length === 0) console.error("berth-web: %s", seesNone());
        for (const name of missing(this.publicBerths, names)) console.error("berth-web: %s", hasNoPage(name));
      })
      .catch(() => undefined); // the watch fails too, and is begun again
  }

  #lost(why: string, nextTry: number): void {
    if (this.facts.unreachableSince === null || this.facts.nextTry === null) {
      console.error("berth-web: the broker does not answer, and is tried again: %s", why);
    }
    this.facts.unreachableSince ??= Date.now();
    this.facts.nextTry = nextTry;
  }

  #tick(): void {
    const now = Date.now();
    void this.#feed.tick(now);
    const pause = this.berths.size > MANY ? SAMPLE_MANY_MS : SAMPLE_MS;
    if (this.facts.unreachableSince === null && now - this.#sampledAt >= pause && !this.#sampling) {
      this.#sampledAt = now;
      this.#sampling = true;
      this.#sample()
        .catch((error: unknown) => console.error("berth-web: no measurements:", messageOf(error)))
        .finally(() => {
          this.#sampling = false;
        });
    }
    if (this.facts.unreachableSince === null) {
      this.berths.tick(now);
      this.#players.tick(now);
    }
    if (now - this.#patchedAt >= TICK_MS) this.#show(now);
  }

  async #sample(): Promise<void> {
    const metrics = await this.metrics();
    const at = Date.now();
    const uptime = metrics.find(({ name }) => name === "io.berthd.Broker.UptimeSeconds")?.value;
    if (typeof uptime === "number") this.facts.up = Math.round((at - uptime * 1000) / 1000) * 1000;
    const samples = this.berths.measured(measuredOf(metrics), at, this.place.host);
    await this.history?.sampled(at, samples);
  }

  #show(now: number): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    const next = this.#overview(now);
    const patch = patchOf(this.#shown, next, now);
    this.#shown = next;
    this.#body = undefined;
    this.#firstEvent = undefined;
    if (patch === undefined) return;
    this.#patchedAt = now;
    this.#streams.send("patch", JSON.stringify(patch));
  }

  #overview(now: number): Overview {
    const berths = this.berths.all().map((known) => rowOf(known, this.place, now));
    const hosts = [this.facts.view(berths), ...this.peers.hosts];
    return { at: now, hosts, berths: [...berths, ...this.peers.rows] };
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#players.close();
    await this.peers.close();
    await this.#link.close();
    await this.#feed.close();
    await this.history?.close();
  }
}

function missing(wanted: ReadonlyMap<string, string>, names: readonly string[]): string[] {
  const there = new Set(names);
  return [...wanted.keys()].filter((name) => !there.has(name));
}

function hasNoPage(name: string): string {
  return `--public ${name}: there is no such berth, or user ${userInfo().username} may not see it, so /p/${name} has no data; all berths: berth ls`;
}

function seesNone(): string {
  const { username } = userInfo();
  return `user ${username} sees no berth; if there are some, start the broker with: berthd --observer ${username}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
