/**
 * What observers report of the players of berths. It is kept in memory: until a minute has passed without a new report,
 * or the lease that it is about has ended. Watchers hear of a change, at most once a second for each berth.
 */
import type { Berth } from "./berth.ts";
import type { BerthEvents } from "./berth-events.ts";
import type { PlayersView } from "./berth-view.ts";
import type { Lease } from "./lease.ts";
import type { ReportRefusal } from "./request.ts";

/** Milliseconds for which a report is true without a new one. */
const FRESH_MS = 60_000;
/** Milliseconds between two reports of a berth: an earlier one is refused. */
const REPORT_INTERVAL_MS = 100;
/** Milliseconds between two events of a berth. */
const EVENT_INTERVAL_MS = 1000;

/** Time and timers. Tests pass their own. */
export interface ReportClock {
  /** Milliseconds since 1970. */
  now(): number;
  after(milliseconds: number, run: () => void): () => void;
}

const systemClock: ReportClock = {
  now: Date.now,
  after: (milliseconds, run) => {
    const timer = setTimeout(run, milliseconds).unref();
    return () => clearTimeout(timer);
  },
};

/** What is known of one berth. */
interface Reported {
  readonly lease: Lease;
  reportedAt: number;
  toldAt: number;
  /** Cancels the next event, and the end of the report. */
  cancelEvent: (() => void) | undefined;
  cancelEnd: () => void;
}

export class Reports {
  readonly #events: BerthEvents;
  readonly #clock: ReportClock;
  readonly #byBerth = new Map<Berth, Reported>();

  constructor(events: BerthEvents, clock: ReportClock = systemClock) {
    this.#events = events;
    this.#clock = clock;
    // Before anybody is told that the lease has ended.
    events.record((_, berth) => {
      const known = this.#byBerth.get(berth);
      if (known !== undefined && known.lease !== berth.lease) this.#forget(berth);
    });
  }

  /** Keeps a report of a berth's players; undefined says that nobody knows them any more. */
  put(berth: Berth, players: Omit<PlayersView, "at"> | undefined): ReportRefusal | undefined {
    const { lease, name } = berth;
    if (lease === undefined) return { kind: "no-tenant", berth: name };
    const now = this.#clock.now();
    const known = this.#byBerth.get(berth);
    if (known !== undefined && Math.abs(now - known.reportedAt) < REPORT_INTERVAL_MS)
      return {
        kind: "limit",
        limit: "reports",
        message: `berth ${name} has had a report just now; one a second is plenty`,
      };
    known?.cancelEnd();
    const reported: Reported = known ?? {
      lease,
      reportedAt: now,
      toldAt: Number.NEGATIVE_INFINITY,
      cancelEvent: undefined,
      cancelEnd: () => undefined,
    };
    reported.reportedAt = now;
    reported.cancelEnd = this.#clock.after(FRESH_MS, () => {
      const wasKnown = berth.players !== undefined;
      this.#forget(berth);
      if (wasKnown) this.#events.tell("players", berth);
    });
    this.#byBerth.set(berth, reported);
    const before = berth.players;
    berth.players = players && { ...players, at: now * 1000 };
    if (!isSame(before, berth.players)) this.#tell(berth, reported, now);
    return undefined;
  }

  /** Forgets everything. */
  close(): void {
    for (const berth of [...this.#byBerth.keys()]) this.#forget(berth);
  }

  #tell(berth: Berth, reported: Reported, now: number): void {
    if (reported.cancelEvent !== undefined) return;
    const tell = (at: number): void => {
      reported.cancelEvent = undefined;
      reported.toldAt = at;
      this.#events.tell("players", berth);
    };
    const wait = reported.toldAt + EVENT_INTERVAL_MS - now;
    if (wait <= 0) tell(now);
    else reported.cancelEvent = this.#clock.after(Math.min(wait, EVENT_INTERVAL_MS), () => tell(this.#clock.now()));
  }

  #forget(berth: Berth): void {
    const known = this.#byBerth.get(berth);
    known?.cancelEnd();
    known?.cancelEvent?.();
    this.#byBerth.delete(berth);
    berth.players = undefined;
  }
}

function isSame(one: PlayersView | undefined, other: PlayersView | undefined): boolean {
  return JSON.stringify({ ...one, at: 0 }) === JSON.stringify({ ...other, at: 0 });
}
