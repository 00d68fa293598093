/**
 * What one server says in one life: from the start of its lease to the end. It keeps what only the SDK knows, and has
 * the broker told of the rest. State that the broker has to hear of changes once the broker has taken it.
 */
import type { BerthRecord, LeaseRecord, Speech } from "berthd";
import type { GameServer, State } from "./model/game-server.ts";
import { Metadata } from "./model/metadata.ts";
import { Players } from "./model/players.ts";
import { Tallies } from "./model/tallies.ts";
import { Refusal } from "./refusal.ts";

export interface SessionOptions {
  readonly lease: LeaseRecord;
  readonly address: string;
  /** Tells the broker. Throws a {@link Refusal} if that cannot be done. */
  readonly speak: (speech: Speech) => Promise<void>;
  readonly log: (message: string) => void;
}

/** Calls of one server that wait for the broker. */
const MOST_WAITING = 64;
const MOST_WATCHERS = 32;
/** What a watch gets of a server that changes all the time: so many states at once, and one in so many milliseconds. */
const STATES_AT_ONCE = 8;
const STATES_APART_MS = 100;
const SHUTDOWN_MS = 200;
/** A server is seen as silent after so many looks. While this process is stopped, nothing is counted. */
const LOOKS = 8;
const MOST_PLAYERS = 1_000_000;
/** The longest time of a timer, in seconds. */
const LONGEST_RESERVE = 2 ** 31 / 1000 - 1;

export class Session {
  readonly metadata: Metadata = new Metadata();
  readonly tallies: Tallies = new Tallies();
  readonly players: Players = new Players();
  readonly #options: SessionOptions;
  readonly #watchers = new Set<() => void>();
  readonly #onEnd = new Set<() => void>();
  #berth: BerthRecord;
  #state: State;
  #version = 1;
  #isEnded = false;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #reserved: NodeJS.Timeout | undefined;
  #stop: NodeJS.Timeout | undefined;
  #looks: NodeJS.Timeout | undefined;
  #silent = 0;
  #mayShow = STATES_AT_ONCE;
  #mayShowAt = 0;
  #show: NodeJS.Timeout | undefined;
  #told = "";
  #isTelling = false;

  constructor(berth: BerthRecord, options: SessionOptions) {
    this.#berth = berth;
    this.#options = options;
    // An earlier berth-sdk may have told the broker.
    this.#state = berth.ready !== true ? "Scheduled" : berth.status === "Allocated" ? "Allocated" : "Ready";
  }

  get lease(): LeaseRecord {
    return this.#options.lease;
  }

  get state(): State {
    return this.#state;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  get gameServer(): GameServer {
    const { lease, address } = this.#options;
    const { metadata, tallies, players } = this;
    return {
      berth: this.#berth,
      lease,
      state: this.#state,
      version: this.#version,
      address,
      metadata,
      tallies,
      players,
    };
  }

  /** The broker says something else of the berth. A server can also say READY=1 itself. */
  update(berth: BerthRecord): void {
    this.#berth = berth;
    if (berth.ready === true && this.#state === "Scheduled") this.#be("Ready");
  }

  ready(): Promise<void> {
    return this.#become("Ready", { ready: true, ...(this.#state !== "Scheduled" && { status: "" }) });
  }

  /** It serves somebody, so it is ready. */
  allocate(): Promise<void> {
    return this.#become("Allocated", { ready: true, status: "Allocated" });
  }

  /** For so many seconds; 0: until it says something else. */
  async reserve(seconds: number): Promise<void> {
    if (seconds < 0 || seconds > LONGEST_RESERVE)
      throw new Refusal("INVALID_ARGUMENT", `seconds must be from 0 to ${Math.floor(LONGEST_RESERVE)}`);
    await this.#become("Reserved", { status: "Reserved" });
    if (seconds > 0) this.#reserved = setTimeout(() => void this.#release(), seconds * 1000);
  }

  /** It is stopped a moment later, so that it gets the answer and may end by itself. */
  async shutdown(): Promise<void> {
    await this.#become("Shutdown", { status: "Shutdown" });
    this.#stop = setTimeout(() => {
      this.#options.speak({ end: "stop" }).catch((error: unknown) => this.#notTold("its end", error));
    }, SHUTDOWN_MS);
  }

  /** From the first call on it has to come again within the berth's watchdog. */
  health(): void {
    this.#assertLives();
    this.#silent = 0;
    const time = this.#berth.sdk?.watchdog ?? 0;
    if (time > 0) this.#looks ??= setInterval(() => this.#look(time), time / 1000 / LOOKS);
  }

  /** Runs a change of what is kept here, and tells of it. */
  change<T>(change: () => T): T {
    this.#assertLives();
    const result = change();
    this.#changed();
    this.#tellPlayers();
    return result;
  }

  /** Calls back after a change; once for several that come together. Returns what ends that. */
  watch(onChange: () => void): () => void {
    this.#assertLives();
    if (this.#watchers.size >= MOST_WATCHERS)
      throw new Refusal("RESOURCE_EXHAUSTED", `this server has ${MOST_WATCHERS} watches open`);
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  /** Calls back when the lease ends. Returns what forgets it. */
  onEnd(ended: () => void): () => void {
    this.#onEnd.add(ended);
    return () => this.#onEnd.delete(ended);
  }

  /** Its lease has ended. */
  end(): void {
    if (this.#show !== undefined) this.#tellWatchers();
    this.#isEnded = true;
    clearTimeout(this.#reserved);
    clearTimeout(this.#stop);
    clearInterval(this.#looks);
    this.#watchers.clear();
    for (const ended of this.#onEnd) ended();
    this.#onEnd.clear();
  }

  /** One after the other: the last state that the broker hears is the one that is kept. */
  #become(state: State, speech: Speech): Promise<void> {
    if (this.#waiting >= MOST_WAITING)
      return Promise.reject(new Refusal("RESOURCE_EXHAUSTED", "too many calls of this server wait for the broker"));
    this.#waiting++;
    const turn = this.#last.then(async () => {
      this.#assertLives();
      if (this.#berth.state === "handover")
        throw new Refusal(
          "FAILED_PRECONDITION",
          "the berth is being taken over; a newcomer says READY=1 by sd_notify(3)",
        );
      if (this.#state === "Shutdown" || this.#state === "Unhealthy")
        throw new Refusal("FAILED_PRECONDITION", `this server is in the state ${this.#state}, and ends`);
      await this.#options.speak(speech);
      this.#be(state);
    });
    this.#last = turn.then(
      () => void this.#waiting--,
      () => void this.#waiting--,
    );
    return turn;
  }

  async #release(): Promise<void> {
    try {
      if (this.#state === "Reserved") await this.ready();
    } catch (error) {
      this.#notTold("the end of its reservation", error);
    }
  }

  #notTold(what: string, error: unknown): void {
    if (!(error instanceof Refusal)) throw error;
    this.#options.log(`the broker was not told of ${what}: ${error.message}`);
  }

  #be(state: State): void {
    if (state !== "Reserved") clearTimeout(this.#reserved);
    if (state === this.#state) return;
    this.#state = state;
    this.#changed();
  }

  #changed(): void {
    this.#version++;
    if (this.#show !== undefined) return;
    const now = performance.now();
    this.#mayShow = Math.min(STATES_AT_ONCE, this.#mayShow + (now - this.#mayShowAt) / STATES_APART_MS);
    this.#mayShowAt = now;
    if (this.#mayShow >= 1) this.#tellWatchers();
    else this.#show = setTimeout(() => this.#tellWatchers(), STATES_APART_MS);
  }

  #tellWatchers(): void {
    clearTimeout(this.#show);
    this.#show = undefined;
    this.#mayShow = Math.max(0, this.#mayShow - 1);
    for (const watcher of [...this.#watchers]) watcher();
  }

  #look(microseconds: number): void {
    if (++this.#silent < LOOKS) return;
    clearInterval(this.#looks);
    this.#options.log(`its server has not called Health for ${microseconds / 1_000_000} s; the broker aborts it`);
    this.#become("Unhealthy", { status: "Unhealthy", end: "abort" }).catch((error: unknown) => {
      this.#notTold("its silence", error);
      this.#looks = undefined; // the next call of Health begins anew
    });
  }

  /** One message at a time: the last count is the one that counts. */
  #tellPlayers(): void {
    const speech = this.#count();
    if (speech === undefined || this.#isTelling || JSON.stringify(speech) === this.#told) return;
    this.#told = JSON.stringify(speech);
    this.#isTelling = true;
    this.#options.speak(speech).then(
      () => this.#toldPlayers(),
      (error: unknown) => {
        this.#isTelling = false;
        this.#told = "";
        this.#notTold("its players", error);
      },
    );
  }

  #toldPlayers(): void {
    this.#isTelling = false;
    if (!this.#isEnded) this.#tellPlayers();
  }

  /** By player tracking, else by the list or the counter that is called "players". */
  #count(): Speech | undefined {
    const list = this.tallies.lists.get("players");
    const counter = this.tallies.counters.get("players");
    const { count, capacity } = this.players.isUsed
      ? this.players
      : list !== undefined
        ? { count: list.values.length, capacity: list.capacity }
        : (counter ?? { count: -1, capacity: 0 });
    if (count < 0 || count > MOST_PLAYERS) return undefined;
    return { players: count, ...(capacity > 0 && capacity <= MOST_PLAYERS && { max: capacity }) };
  }

  #assertLives(): void {
    if (this.#isEnded) throw new Refusal("UNAVAILABLE", "the lease of this server has ended");
  }
}
