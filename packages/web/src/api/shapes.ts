/**
 * The JSON of /api/v1, as the page and other programs read it. Types alone, so the page compiles them too.
 *
 * Every time is in milliseconds since 1970, every size in bytes. `null` means: not known, or there is none. Text from a
 * server or its players has had its control characters removed; it is text, never markup.
 *
 * | address | answer |
 * | --- | --- |
 * | /api/v1/overview | {@link Overview}: every host and berth |
 * | /api/v1/berths/HOST/NAME | {@link BerthDetail} |
 * | /api/v1/berths/HOST/NAME/series?range=24h\|30d | {@link Series} |
 * | /api/v1/berths/HOST/NAME/timeline?before=TIME&limit=N | {@link Timeline} |
 * | /api/v1/quiet, /api/v1/quiet?host=HOST, /api/v1/quiet?berth=HOST/NAME | {@link Quiet} |
 * | /api/v1/public/NAME | {@link PublicBerth}: needs no token |
 * | /api/v1/events | server-sent events: {@link StreamEvents} |
 *
 * A refusal has the status 4xx or 5xx and an {@link ApiError}.
 */

import type { Remedy, Time } from "./common-shapes.ts";
import type { QuietHour, TimelineEvent } from "./history-shapes.ts";

export type * from "./common-shapes.ts";
export type * from "./history-shapes.ts";

/**
 * The one word for a berth, the first that applies. "Outdated" is no word of its own: it is a badge beside serving, see
 * {@link BerthRow.outdated}.
 */
export type StateWord =
  | "failed" // a start failed and is tried again, or its configuration keeps it from being taken
  | "problem" // serves, but loses packets, its queue is full, or memory runs out
  | "draining" // is to end
  | "handover" // two tenants
  | "starting" // occupied and not ready, or a start is under way
  | "serving" // occupied and ready
  | "asleep" // vacant, starts on demand
  | "vacant"; // vacant, somebody has to start it

/** One machine with a broker. */
export interface Host {
  /** Short name, unique in this answer, and part of the addresses of its berths. */
  readonly id: string;
  /** Its full name. */
  readonly name: string;
  /** The version of berthd there. */
  readonly version: string | null;
  /** When the broker started. */
  readonly up: Time | null;
  readonly memory: Memory | null;
  /** The time zone that {@link Quiet} counts its hours in, as Europe/Berlin. */
  readonly zone: string;
  /** Since when the broker does not answer; null while it does. What is known of its berths is then as old as that. */
  readonly unreachableSince: Time | null;
  /** When the broker is tried again. Null while it answers. */
  readonly nextTry: Time | null;
  /** Players in the last 24 h, all berths together: see {@link BerthRow.spark}. */
  readonly spark: readonly (number | null)[];
}

export interface Memory {
  readonly used: number;
  /** What it may use at most; null where nothing limits it. */
  readonly limit: number | null;
}

/** What one row of the list shows. */
export interface BerthRow {
  /** {@link Host.id}. */
  readonly host: string;
  /** NAME or TEMPLATE@INSTANCE. */
  readonly name: string;
  readonly state: StateWord;
  /** Since when it is in this state. Null: since before this was looked at. */
  readonly since: Time | null;
  /** The second line of a failure or problem, as "out of memory, 5×". Null: show the duration. */
  readonly cause: string | null;
  /** Serves, but from an older image or an older configuration than the one in force. */
  readonly outdated: Outdated | null;
  readonly drain: Drain | null;
  /** What is played there, as the server says: "Quake III Arena". */
  readonly game: string | null;
  readonly map: string | null;
  readonly players: number | null;
  readonly slots: number | null;
  /**
   * The mean of players in each half hour of the last 24 h, the oldest first: 48 numbers with at most one decimal.
   * Null where nothing was measured.
   */
  readonly spark: readonly (number | null)[];
  /** What a player types: host and port, without a scheme. A wildcard address is shown as the host's own. */
  readonly address: string | null;
  readonly protocol: "udp" | "tcp" | "unix" | null;
  /** NAME@VERSION, or a path's last part. */
  readonly image: string | null;
  /** Memory of the server's control group. */
  readonly memory: Memory | null;
  /** Starts of its server that the broker has seen, but the first. */
  readonly restarts: number | null;
  /** Whom the server runs as: a name, or a number. */
  readonly user: string | null;
}

export interface Outdated {
  /** The newer image, NAME@VERSION. Null: the image is current. */
  readonly image: string | null;
  /** The configuration has changed since its tenant took the berth. */
  readonly configuration: boolean;
}

export interface Drain {
  readonly began: Time | null;
  /** When it ends at the latest. Null: when the last player has left. */
  readonly deadline: Time | null;
}

export interface Overview {
  /** When this was true. */
  readonly at: Time;
  readonly hosts: readonly Host[];
  readonly berths: readonly BerthRow[];
}

/** The row, and what is shown when it is opened. */
export interface BerthDetail extends BerthRow {
  /** Why it does not run, what is wrong, or what goes on. Null where there is nothing to explain. */
  readonly why: Why | null;
  readonly tenant: Tenant | null;
  /** How its server is started: by the first packet, by a unit of systemd, or by a person. */
  readonly starts: "on-demand" | "unit" | "hand" | null;
  /** What the server says of itself (sd_notify(3), STATUS=). */
  readonly status: string | null;
  /** Processor time per second of the last interval: 1 is one whole processor. */
  readonly cpu: number | null;
  readonly sockets: readonly SocketFacts[];
  /** The quietest hour, where there is enough history to name one. */
  readonly quietest: QuietHour | null;
  /** The address of its public page on this server, as /p/NAME. */
  readonly publicPage: string | null;
}

export interface Tenant {
  readonly pid: number;
  readonly user: string;
  readonly unit: string | null;
}

export interface SocketFacts {
  readonly name: string;
  /** As the configuration writes it: udp://0.0.0.0:27960. */
  readonly address: string;
  /** Of a datagram socket: bytes that wait in its receive queue, and its limit. */
  readonly queue: { readonly bytes: number; readonly limit: number | null } | null;
  /** Datagrams lost because the queue was full, since the socket was opened. */
  readonly drops: number | null;
  /** Of a listening socket: connections that wait for accept(2), and its limit. */
  readonly backlog: { readonly waiting: number; readonly limit: number } | null;
}

export interface Why {
  /** not-running: "Why it is not running". wrong: "What is wrong". now: what goes on, under the state's own word. */
  readonly kind: "not-running" | "wrong" | "now";
  /** The cause, in a sentence or two. */
  readonly text: string;
  /** When it is tried again. */
  readonly next: Time | null;
  readonly remedies: readonly Remedy[];
}

/** What players may know of a berth whose owner has made a public page for it. */
export interface PublicBerth {
  readonly name: string;
  readonly title: string;
  readonly game: string | null;
  readonly map: string | null;
  /** open: it can be joined. wakes: the first join starts it. soon: it starts or is handed over. closed: else. */
  readonly state: "open" | "wakes" | "soon" | "closed";
  readonly players: number | null;
  readonly slots: number | null;
  readonly address: string | null;
  /** A link that opens the game, as steam://connect/203.0.113.7:27015. */
  readonly join: string | null;
  /** As {@link BerthRow.spark}. */
  readonly spark: readonly (number | null)[];
  /** The mean of players in each 4 hours of 30 days, the oldest first: 180 numbers. */
  readonly month: readonly (number | null)[];
  /** When this was true. Older than a minute: the broker does not answer. */
  readonly at: Time;
}

/**
 * The events of /api/v1/events, by their name. `state` comes first, and replaces everything. A `patch` comes at most
 * once a second, and a `ping` every 10 s. A client that reads too slowly is disconnected.
 */
export interface StreamEvents {
  readonly state: Overview;
  readonly patch: Patch;
  readonly timeline: StreamTimeline;
  readonly ping: Ping;
}

/** The stream is alive, even where nothing changes. */
export interface Ping {
  readonly at: Time;
}

export interface Patch {
  readonly at: Time;
  /** Hosts that changed, whole. */
  readonly hosts: readonly Host[];
  /** Berths that changed: host, name and the fields that changed. A new berth has every field. */
  readonly berths: readonly BerthPatch[];
  readonly removed: readonly BerthKey[];
}

export interface BerthKey {
  readonly host: string;
  readonly name: string;
}

export type BerthPatch = BerthKey & Partial<BerthRow>;

export interface StreamTimeline extends BerthKey {
  readonly event: TimelineEvent;
}

export interface ApiError {
  readonly error: {
    readonly code: "not-found" | "bad-request" | "denied" | "too-many" | "not-allowed" | "no-history" | "fault";
    /** A sentence for people. */
    readonly message: string;
  };
}
