/** Makes the broker's berths those that etcd assigns to this host. One round at a time; a failed round is repeated. */
import { sleep } from "../etcd/follow.ts";
import type { Assignment } from "../model/placement.ts";
import type { BerthFiles } from "./berth-files.ts";
import type { BrokerLink } from "./broker-link.ts";
import { Holds } from "./holds.ts";
import type { Orders } from "./orders.ts";
import { Starts } from "./starts.ts";

export interface ReconcilerEvents {
  /** Something to report has changed. */
  changed(): void;
  /** For people. */
  say(sentence: string): void;
}

/** Why a berth is not served, and of which generation that is true. */
interface Refused {
  readonly generation: number;
  readonly why: string;
}

/** Before a failed round is repeated. */
const PAUSE_MS = 1_000;

export class Reconciler {
  readonly #files: BerthFiles;
  readonly #broker: BrokerLink;
  readonly #mayBegin: () => boolean;
  readonly #events: ReconcilerEvents;
  readonly #problemOf: (one: Assignment) => string | undefined;
  readonly #isReady: (one: Assignment) => boolean;
  readonly #refused = new Map<string, Refused>();
  readonly #starts: Starts;
  readonly #holds: Holds;
  /** Berths that are off, with their generations. */
  #held: ReadonlyMap<string, number> = new Map();
  #wanted: ReadonlyMap<string, Assignment> | undefined;
  /** Those of them that this host may serve. */
  #allowed: ReadonlyMap<string, Assignment> = new Map();
  /** The others. */
  #forbidden: ReadonlyMap<string, Refused> = new Map();
  #wake: () => void = () => undefined;
  #isDue = true;
  /** Files are gone that the broker has not heard of. */
  #mustReload = false;
  /** The berths that had no server at the end of the last round. */
  #toStart: readonly string[] = [];
  #said = "";

  /**
   * `mayBegin`: whether the host has its lease. Without it a berth that is new here waits, and so does its first start.
   * `problemOf`: why this host may not serve a berth; then it does not, also if it did before. `isReady`: whether what
   * a new berth needs is here. {@link look} tells that the host has its lease again, or what a berth needs.
   */
  constructor(
    files: BerthFiles,
    broker: BrokerLink,
    mayBegin: () => boolean,
    events: ReconcilerEvents,
    problemOf: (one: Assignment) => string | undefined,
    isReady: (one: Assignment) => boolean = () => true,
  ) {
    this.#problemOf = problemOf;
    this.#isReady = isReady;
    this.#files = files;
    this.#broker = broker;
    this.#mayBegin = mayBegin;
    this.#events = events;
    this.#starts = new Starts(files, broker, mayBegin, () => this.look(), events.say);
    this.#holds = new Holds(broker, events.say);
  }

  /** What etcd has for this host. */
  order({ assignments, holds }: Pick<Orders, "assignments" | "holds">): void {
    this.#wanted = assignments;
    const former = this.#forbidden;
    this.#forbidden = new Map(
      [...assignments.values()].flatMap((one): [string, Refused][] => {
        const why = this.#problemOf(one);
        return why === undefined ? [] : [[one.berth, { generation: one.generation, why }]];
      }),
    );
    this.#allowed = new Map([...assignments].filter(([berth]) => !this.#forbidden.has(berth)));
    for (const [berth, { why }] of this.#forbidden)
      if (former.get(berth)?.why !== why) this.#events.say(`${berth} is not served: ${why}`);
    this.#holds.wanted = holds;
    for (const berth of this.#refused.keys()) if (!assignments.has(berth)) this.#refused.delete(berth);
    this.look();
  }

  /** Whether the berth is off: it has no server, and gets none before the hold ends. */
  isHeld(berth: string, generation: number): boolean {
    return this.#held.get(berth) === generation;
  }

  get wanted(): ReadonlyMap<string, Assignment> {
    return this.#wanted ?? new Map();
  }

  /** The berths that etcd assigns to this host and that it may serve. */
  get allowed(): readonly Assignment[] {
    return [...this.#allowed.values()];
  }

  /** Why a berth of this generation is not served; undefined: nothing is known against it. */
  why(berth: string, generation: number): string | undefined {
    const refused = this.#forbidden.get(berth) ?? this.#refused.get(berth);
    return refused?.generation === generation ? refused.why : undefined;
  }

  /** Why its last start failed. */
  failureOf(berth: string): string | undefined {
    return this.#starts.failureOf(berth);
  }

  /** Something has changed: there is a round soon. */
  look(): void {
    this.#isDue = true;
    this.#wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#isDue) await this.#waitForWork(signal);
      if (signal.aborted) return;
      this.#isDue = false;
      try {
        await this.#round(signal);
      } catch (error) {
        if (signal.aborted) return;
        const sentence = `${error instanceof Error ? error.message : String(error)}; trying again`;
        if (sentence !== this.#said) this.#events.say(sentence);
        this.#said = sentence;
        this.#isDue = true;
        await sleep(PAUSE_MS, signal);
      }
    }
  }

  /** Until {@link look}, or until a start that has failed is due. */
  async #waitForWork(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await sleep(this.#starts.pause(this.#toStart), AbortSignal.any([signal, woken.signal]));
  }

  async #round(signal: AbortSignal): Promise<void> {
    this.#toStart = [];
    if (this.#broker.berths === undefined) return;
    // Nothing is removed before etcd was read once.
    if (this.#wanted !== undefined) {
      await this.#holds.cancelEnded();
      await this.#removeOld(this.#allowed);
      if (this.#mustReload) {
        await this.#reload();
        // What was in the way may be gone: a port that a removed berth had.
        this.#refused.clear();
      }
      this.#held = this.#heldOf(this.#allowed);
      const begun = Date.now() * 1000;
      const added = await this.#addNew(this.#allowed, signal);
      if (added.length > 0) await this.#reloadWith(added);
      if (added.length > 0) await this.#refuseTaken(added, begun, signal);
    }
    // An agent that ended during a start does not know that it succeeded.
    for (const berth of this.#files.read().keys())
      if (this.#broker.berths?.get(berth)?.lease && !this.#starts.has(berth)) this.#files.setStarted(berth);
    this.#toStart = this.#withoutServer();
    this.#starts.begin(this.#toStart, signal);
    this.#events.changed();
  }

  /** Ends the servers of berths that this host has no longer, has anew, or holds, and removes their files. */
  async #removeOld(wanted: ReadonlyMap<string, Assignment>): Promise<void> {
    for (const [berth, generation] of this.#files.read()) {
      const now = wanted.get(berth)?.generation;
      if (this.#starts.has(berth)) continue;
      const isOurs = now !== undefined && now <= generation;
      if (isOurs && !(await this.#holds.isDrained(berth, generation))) continue;
      const lease = this.#broker.berths?.get(berth)?.lease;
      const failed = lease ? await this.#broker.stop(berth) : undefined;
      if (failed !== undefined) {
        this.#events.say(`cannot stop ${berth}, which this host shall not serve: ${failed}`);
        this.#isDue = true;
        continue;
      }
      this.#files.remove(berth);
      this.#starts.remove(berth);
      this.#events.say(`${berth} of generation ${generation} is ${isOurs ? "held" : "no longer here"}`);
      this.#mustReload = true;
    }
  }

  /** Also the broker has forgotten them, so nothing can start their servers. */
  #heldOf(wanted: ReadonlyMap<string, Assignment>): Map<string, number> {
    const files = this.#files.read();
    const isOff = ({ berth, generation }: Assignment): boolean =>
      this.#holds.has(berth, generation) &&
      !(files.has(berth) || this.#starts.has(berth)) &&
      (this.#files.isStaged(berth) || this.#broker.berths?.has(berth) === false);
    return new Map([...wanted.values()].filter(isOff).map(({ berth, generation }) => [berth, generation]));
  }

  /** Writes the files of berths that are new here. */
  async #addNew(wanted: ReadonlyMap<string, Assignment>, signal: AbortSignal): Promise<Assignment[]> {
    const there = this.#files.read();
    const isFresh = ({ berth, generation }: Assignment): boolean =>
      !(there.has(berth) || this.#files.isStaged(berth)) &&
      this.why(berth, generation) === undefined &&
      !(this.#held.has(berth) || this.#holds.has(berth, generation));
    const fresh = [...wanted.values()].filter((one) => isFresh(one) && this.#isReady(one));
    if (fresh.length === 0 || !this.#mayBegin()) return [];
    const others = await this.#broker.present(signal);
    const added: Assignment[] = [];
    for (const one of fresh) {
      const other = others.has(one.berth) ? `a berth ${one.berth}` : this.#files.inTheWayOf(one.berth);
      if (other !== undefined) {
        this.#refuse(one, `this host has ${other} that is not the fleet's`);
        continue;
      }
      this.#files.write(one);
      added.push(one);
    }
    return added;
  }

  /** The broker takes all files or none: after a refusal each new one is tried alone. */
  async #reloadWith(added: readonly Assignment[]): Promise<void> {
    if ((await this.#broker.reload()) === undefined) {
      for (const { berth, generation } of added) this.#events.say(`${berth} of generation ${generation} is here`);
      return;
    }
    for (const { berth } of added) this.#files.remove(berth);
    await this.#reload();
    for (const one of added) {
      this.#files.write(one);
      const problem = await this.#broker.reload();
      if (problem === undefined) continue;
      this.#files.remove(one.berth);
      this.#refuse(one, problem);
    }
  }

  /**
   * The broker keeps the server of a berth that was removed, and does not list it: then the berth came back with our
   * file. We take the file away, and do not stop the server. `begun`: when our file was written, in µs since 1970.
   */
  async #refuseTaken(added: readonly Assignment[], begun: number, signal: AbortSignal): Promise<void> {
    const now = await this.#broker.present(signal).catch((error: unknown) => {
      for (const { berth } of added) this.#files.remove(berth);
      this.#mustReload = true;
      throw error;
    });
    const taken = added.filter(({ berth }) => (now.get(berth)?.lease?.since ?? begun) < begun);
    for (const one of taken) {
      this.#files.remove(one.berth);
      this.#refuse(one, `a server of a berth ${one.berth} that is not the fleet's still runs on this host`);
    }
    if (taken.length > 0) await this.#reload();
  }

  async #reload(): Promise<void> {
    const problem = await this.#broker.reload();
    if (problem !== undefined) throw new Error(`the broker refuses its configuration, so nothing changes: ${problem}`);
    this.#mustReload = false;
  }

  #refuse({ berth, generation }: Assignment, why: string): void {
    this.#refused.set(berth, { generation, why });
    this.#events.say(`${berth} is not served: ${why}`);
  }

  /** Our berths that somebody has to start: vacant and whole, and the broker does not start them. */
  #withoutServer(): string[] {
    return [...this.#files.read().keys()].filter((name) => {
      const berth = this.#broker.berths?.get(name);
      if (berth === undefined || this.#forbidden.has(name)) return false;
      if (this.#holds.has(name, this.wanted.get(name)?.generation ?? 0)) return false;
      const { state, problems, start, wait } = berth;
      return state === "vacant" && !problems?.length && !wait && !start;
    });
  }
}
