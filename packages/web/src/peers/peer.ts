/**
 * One other host: what its berth-web streams, under the name that the operator gave it. Only the host that runs that
 * berth-web is taken from it, not the peers that it shows itself. What it says is checked, and stays when it is away.
 */
import type { EventSourceMessage } from "eventsource-parser";
import type { BerthRow, Host, Patch, StreamTimeline } from "../api/shapes.ts";
import { sleep } from "../sleep.ts";
import { neverSeen } from "./away.ts";
import { checked, MOST_ENTRIES, NotUnderstood, parsed } from "./checks.ts";
import { type PeerAnswer, PeerClient, type PeerPlace, type PeerTls } from "./peer-client.ts";

export interface PeerEvents {
  /** What happened to a berth there, with the host's name here. */
  timeline(happened: StreamTimeline): void;
  /** A sentence for the log. */
  say(message: string): void;
}

const FIRST_PAUSE_MS = 250;
const LAST_PAUSE_MS = 15_000;
/** Events that are handled in one second. A peer sends about one; a hostile one waits. */
const EVENTS_PER_SECOND = 20;
/** UTF-16 units of all its berths as JSON: 10,000 with the usual texts have about 6 Mi. */
const MOST_TEXT: number = 16 * 2 ** 20;

export class Peer {
  readonly place: PeerPlace;
  readonly #client: PeerClient;
  readonly #events: PeerEvents;
  readonly #stop = new AbortController();
  readonly #rows = new Map<string, BerthRow>();
  /** How it calls itself, in its addresses and rows. */
  #ownName: string | undefined;
  #host: Host;
  #shownRows: readonly BerthRow[] | undefined;
  #running: Promise<void> | undefined;
  #pause = FIRST_PAUSE_MS;
  /** The length of each row as JSON, and of all. */
  readonly #lengths = new Map<string, number>();
  #text = 0;
  #second = 0;
  #handled = 0;

  constructor(place: PeerPlace, tls: PeerTls, events: PeerEvents) {
    this.place = place;
    this.#client = new PeerClient(place, tls);
    this.#events = events;
    this.#host = neverSeen(place, Date.now());
  }

  start(): void {
    this.#running ??= this.#run();
  }

  get host(): Host {
    return this.#host;
  }

  /** The same array until something changes. */
  get rows(): readonly BerthRow[] {
    this.#shownRows ??= [...this.#rows.values()];
    return this.#shownRows;
  }

  /** How the peer calls itself; undefined before it has answered. */
  get ownName(): string | undefined {
    return this.#ownName;
  }

  /** A question to its API. `path` is below /api/v1 and has the peer's own name of its host. */
  get(path: string): Promise<PeerAnswer> {
    return this.#client.get(path, this.#stop.signal);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let told: string | undefined;
    while (!signal.aborted) {
      let why = "it has ended the stream";
      try {
        for await (const event of this.#client.events(signal)) {
          this.#take(event);
          if (told !== undefined) this.#events.say(`peer ${this.place.name} answers`);
          told = undefined;
          await this.#pace(signal);
        }
      } catch (error) {
        why = error instanceof NotUnderstood ? `it is not understood: ${error.message}` : messageOf(error);
      }
      if (signal.aborted) return;
      if (told !== why) this.#events.say(`peer ${this.place.name} at ${this.place.address} does not answer: ${why}`);
      told = why;
      const now = Date.now();
      const unreachableSince = this.#host.unreachableSince ?? now;
      this.#host = { ...this.#host, unreachableSince, nextTry: now + this.#pause };
      await sleep(this.#pause, signal);
      this.#pause = Math.min(LAST_PAUSE_MS, this.#pause * 2);
    }
  }

  #take({ event, data }: EventSourceMessage): void {
    if (event === "state") {
      const { hosts, berths } = checked("Overview", parsed(data));
      const own = hosts[0];
      if (own === undefined) throw new NotUnderstood("it names no host");
      this.#ownName = own.id;
      this.#rows.clear();
      this.#lengths.clear();
      this.#text = 0;
      this.#shownRows = undefined;
      for (const row of berths) if (row.host === own.id) this.#set(row);
      this.#host = { ...own, id: this.place.name };
      this.#pause = FIRST_PAUSE_MS;
    } else if (event === "patch") {
      this.#change(checked("Patch", parsed(data)));
    } else if (event === "timeline") {
      const happened = checked("StreamTimeline", parsed(data));
      if (happened.host === this.#ownName && this.#rows.has(happened.name))
        this.#events.timeline({ ...happened, host: this.place.name });
    }
  }

  #change({ hosts, berths, removed }: Patch): void {
    for (const host of hosts) if (host.id === this.#ownName) this.#host = { ...host, id: this.place.name };
    for (const { host, name } of removed) if (host === this.#ownName) this.#remove(name);
    for (const change of berths) {
      if (change.host !== this.#ownName) continue;
      this.#set(checked("BerthRow", { ...this.#rows.get(change.name), ...change }));
    }
    if (berths.length + removed.length > 0) this.#shownRows = undefined;
  }

  #set(row: BerthRow): void {
    this.#remove(row.name);
    const { length } = JSON.stringify(row);
    this.#text += length;
    this.#lengths.set(row.name, length);
    this.#rows.set(row.name, { ...row, host: this.place.name });
    if (this.#rows.size > MOST_ENTRIES) throw new NotUnderstood(`it has more than ${MOST_ENTRIES} berths`);
    if (this.#text > MOST_TEXT) throw new NotUnderstood("its berths have too much text");
  }

  #remove(name: string): void {
    this.#text -= this.#lengths.get(name) ?? 0;
    this.#lengths.delete(name);
    this.#rows.delete(name);
  }

  async #pace(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    if (now - this.#second >= 1000) {
      this.#second = now;
      this.#handled = 0;
    }
    if (++this.#handled > EVENTS_PER_SECOND) await sleep(this.#second + 1000 - now, signal);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#client.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
