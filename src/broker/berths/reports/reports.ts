/**
 * Who plays on berths, as observers report, as servers answer their doorman, and as they say themselves. It is kept in
 * memory: a report until a minute has passed without a new one, and all until the lease has ended. What the server says
 * itself comes first, then what it has answered.
 */
import type { Berth } from "../berth/berth.ts";
import type { BerthEvents } from "../berth/berth-events.ts";
import type { PlayersView } from "../berth/berth-view.ts";
import type { Lease } from "../berth/lease.ts";
import { PacedEvents } from "./paced-events.ts";
import { type ReportClock, systemClock } from "./report-clock.ts";

/** Milliseconds for which a report is true without a new one. */
const FRESH_MS = 60_000;
/** Milliseconds between two reports of a berth: an earlier one is refused. */
const REPORT_INTERVAL_MS = 100;

/** Why a report was not kept. */
export type NotKept =
  | { readonly kind: "no-tenant"; readonly berth: string }
  | { readonly kind: "limit"; readonly limit: string; readonly message: string };

/** What is known of one berth. */
interface Reported {
  readonly lease: Lease;
  report: PlayersView | undefined;
  answer: PlayersView | undefined;
  reportedAt: number;
  /** Cancels the end of the report. */
  cancelEnd: () => void;
}

export class Reports {
  readonly #changes: PacedEvents;
  readonly #clock: ReportClock;
  readonly #byBerth = new Map<Berth, Reported>();

  constructor(events: BerthEvents, clock: ReportClock = systemClock) {
    this.#changes = new PacedEvents("players", events, clock);
    this.#clock = clock;
    // Before anybody is told that the lease has ended.
    events.record((_, berth) => {
      const known = this.#byBerth.get(berth);
      if (known !== undefined && known.lease !== berth.lease) this.#forget(berth);
      if (berth.players === undefined && berth.lease?.said !== undefined)
        berth.players = playersOf(berth, undefined, undefined);
    });
  }

  /** Keeps a report of a berth's players; undefined says that nobody knows them any more. */
  put(berth: Berth, players: Omit<PlayersView, "at"> | undefined): NotKept | undefined {
    const { lease, name } = berth;
    if (lease === undefined) return { kind: "no-tenant", berth: name };
    const now = this.#clock.now();
    const reported = this.#of(berth, lease);
    if (Math.abs(now - reported.reportedAt) < REPORT_INTERVAL_MS)
      return {
        kind: "limit",
        limit: "reports",
        message: `berth ${name} has had a report just now; one a second is plenty`,
      };
    reported.cancelEnd();
    reported.reportedAt = now;
    reported.report = players && { ...players, at: now * 1000 };
    reported.cancelEnd = this.#clock.after(FRESH_MS, () => {
      reported.report = undefined;
      this.#show(berth, reported);
    });
    this.#show(berth, reported);
    return undefined;
  }

  /** The server of a berth has answered its doorman how many play; undefined if it does not answer. */
  answered(berth: Berth, players: number | undefined): void {
    const { lease } = berth;
    if (lease === undefined) return;
    const reported = this.#of(berth, lease);
    reported.answer = players === undefined ? undefined : { count: players, at: this.#clock.now() * 1000 };
    this.#show(berth, reported);
  }

  /** The server of a berth has said who plays. */
  update(berth: Berth): void {
    const { lease } = berth;
    if (lease !== undefined) this.#show(berth, this.#of(berth, lease));
  }

  /** Forgets everything. */
  close(): void {
    for (const berth of [...this.#byBerth.keys()]) this.#forget(berth);
  }

  #of(berth: Berth, lease: Lease): Reported {
    const known = this.#byBerth.get(berth);
    if (known !== undefined) return known;
    const reported: Reported = {
      lease,
      report: undefined,
      answer: undefined,
      reportedAt: Number.NEGATIVE_INFINITY,
      cancelEnd: () => undefined,
    };
    this.#byBerth.set(berth, reported);
    return reported;
  }

  #show(berth: Berth, reported: Reported): void {
    const before = berth.players;
    berth.players = playersOf(berth, reported.report, reported.answer);
    if (!isSame(before, berth.players)) this.#changes.tell(berth);
  }

  #forget(berth: Berth): void {
    this.#byBerth.get(berth)?.cancelEnd();
    this.#changes.forget(berth);
    this.#byBerth.delete(berth);
    berth.players = undefined;
  }
}

/** What the server says or answers, with what only an observer knows: its name and map. */
function playersOf(
  { lease }: Berth,
  report: PlayersView | undefined,
  answer: PlayersView | undefined,
): PlayersView | undefined {
  const own = lease?.said ?? answer;
  return own === undefined ? report : { ...report, ...own };
}

function isSame(one: PlayersView | undefined, other: PlayersView | undefined): boolean {
  return JSON.stringify({ ...one, at: 0 }) === JSON.stringify({ ...other, at: 0 });
}
