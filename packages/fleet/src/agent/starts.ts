/** Starts the servers of berths: a few at the same time, and after a pause again those that have failed. */
import type { BerthFiles } from "./berth-files.ts";
import type { BrokerLink } from "./broker-link.ts";

interface Start {
  readonly failures: number;
  /** When the next one is due, by performance.now(). */
  readonly next: number;
  readonly why: string | undefined;
}

/** Servers that start at the same time. */
const MOST_STARTS = 4;
const FIRST_PAUSE_MS = 1_000;
const LAST_PAUSE_MS = 60_000;

export class Starts {
  readonly #files: Pick<BerthFiles, "isUnstarted" | "setStarted">;
  readonly #broker: Pick<BrokerLink, "start">;
  readonly #mayBegin: () => boolean;
  readonly #ended: () => void;
  readonly #say: (sentence: string) => void;
  readonly #last = new Map<string, Start>();
  readonly #running = new Set<string>();

  /**
   * `files`: which berths are new here. Such a berth is started only while the host has its lease, until a start has
   * succeeded. `mayBegin`: whether the host has its lease. `ended`: a start has ended.
   */
  constructor(
    files: Pick<BerthFiles, "isUnstarted" | "setStarted">,
    broker: Pick<BrokerLink, "start">,
    mayBegin: () => boolean,
    ended: () => void,
    say: (sentence: string) => void,
  ) {
    this.#files = files;
    this.#broker = broker;
    this.#mayBegin = mayBegin;
    this.#ended = ended;
    this.#say = say;
  }

  /** A berth is here no longer. */
  remove(berth: string): void {
    this.#last.delete(berth);
  }

  /** Whether it is being started. */
  has(berth: string): boolean {
    return this.#running.has(berth);
  }

  /** Why its last start failed. */
  failureOf(berth: string): string | undefined {
    return this.#last.get(berth)?.why;
  }

  /** Begins those starts that are due, of berths that have no server. `ended` tells of each. */
  begin(berths: Iterable<string>, signal: AbortSignal): void {
    for (const berth of berths) if (this.#mayStart(berth) && this.#dueIn(berth) <= 0) void this.#start(berth, signal);
  }

  /** Milliseconds until one of these berths is due, which have no server; at most a minute. */
  pause(berths: Iterable<string>): number {
    const dues = [...berths].filter((berth) => this.#mayStart(berth)).map((berth) => this.#dueIn(berth));
    return Math.max(0, Math.min(LAST_PAUSE_MS, ...dues));
  }

  #mayStart(berth: string): boolean {
    if (this.#running.has(berth) || this.#running.size >= MOST_STARTS) return false;
    return !this.#files.isUnstarted(berth) || this.#mayBegin();
  }

  #dueIn(berth: string): number {
    return (this.#last.get(berth)?.next ?? 0) - performance.now();
  }

  /** Beside the rounds: a server that starts slowly holds up no other berth. */
  async #start(berth: string, signal: AbortSignal): Promise<void> {
    this.#running.add(berth);
    const why = await this.#broker.start(berth, signal);
    this.#running.delete(berth);
    if (why === undefined) this.#files.setStarted(berth);
    const { failures = 0, why: before } = this.#last.get(berth) ?? {};
    const pause = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
    // Also after a success: a server that ends at once is not started in a loop.
    this.#last.set(berth, { failures: why === undefined ? 0 : failures + 1, next: performance.now() + pause, why });
    if (why !== undefined && why !== before && !signal.aborted) this.#say(`${berth} does not start: ${why}`);
    this.#ended();
  }
}
