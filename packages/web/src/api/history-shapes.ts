/** The JSON of what was: plots, timeline and quiet hours. See shapes.ts for the units. */
import type { Remedy, Time } from "./common-shapes.ts";

/** What the plots of the detail show, all on one time axis. */
export interface Series {
  readonly range: "24h" | "30d";
  /** Middle of the first step. */
  readonly start: Time;
  /** Milliseconds from one value to the next: 10 minutes of 24 h, 4 hours of 30 days. */
  readonly step: number;
  readonly players: Plot;
  /**
   * Bytes in its fullest receive queue. Both lists have the highest of each step: a queue is empty most of the time.
   * There is no count of packets: the kernel counts those that a UDP socket loses, and not those that it receives.
   */
  readonly queue: Plot;
  /** Datagrams lost in each step. */
  readonly drops: readonly (number | null)[];
  /** Processor time per second: 1 is one whole processor. */
  readonly cpu: Plot;
  readonly memory: Plot;
  /** From when to when no server ran. */
  readonly idle: readonly Span[];
  /** From when to when datagrams were lost. */
  readonly lost: readonly Span[];
  readonly crashes: readonly Time[];
}

export interface Plot {
  /** The mean of each step. */
  readonly mean: readonly (number | null)[];
  /** The highest of each step. */
  readonly high: readonly (number | null)[];
  /** The end of its scale, where there is a natural one: slots, the receive buffer, or the memory allowed. */
  readonly limit: number | null;
}

export interface Span {
  readonly from: Time;
  readonly to: Time;
}

/** What happened, the newest first. */
export interface Timeline {
  readonly events: readonly TimelineEvent[];
  /** Whether there are older ones: ask again with before = the last event's `at`. */
  readonly more: boolean;
}

export type TimelineKind =
  | "lease" // a tenant took the berth
  | "ready" // its server serves
  | "takeover" // a newcomer has taken the berth over, and serves
  | "handover" // a takeover has begun
  | "released" // the lease has ended
  | "stopping" // the server is being stopped, or says that it stops
  | "crash" // the server ended by a signal or with a status
  | "failed" // a start failed
  | "wake" // a packet or connection came, and the broker starts the server
  | "drain" // a drain has begun or ended
  | "repaired" // a socket has been put right
  | "changed" // its configuration has changed
  | "added"
  | "removed"
  | "unwatched"; // the broker did not answer, or nobody looked: what happened is not known

export interface TimelineEvent {
  readonly at: Time;
  readonly kind: TimelineKind;
  /** "Crashed: SIGSEGV". */
  readonly text: string;
  /** One further line: whose, how long, with which status. */
  readonly detail: string | null;
}

export interface Quiet {
  /** HOST/NAME; null for all berths of the host. */
  readonly berth: string | null;
  readonly host: string;
  /** The time zone of the hours: that of the host of this server. */
  readonly zone: string;
  /** How many days of measurements there are, 56 at most. */
  readonly days: number;
  /** Whether that is enough (14 days) to name an hour. */
  readonly enough: boolean;
  /** By weekday from Monday, then by hour: players on average. Null where nothing was measured. */
  readonly mean: readonly (readonly (number | null)[])[];
  readonly best: QuietHour | null;
  /** The next ones, on other days. */
  readonly others: readonly QuietHour[];
  /** Restarts the berth at that hour; null for all berths together. */
  readonly remedy: Remedy | null;
}

export interface QuietHour {
  /** 0 is Monday. */
  readonly weekday: number;
  readonly hour: number;
  readonly mean: number;
  readonly high: number;
  /** When it comes next. */
  readonly next: Time;
}
