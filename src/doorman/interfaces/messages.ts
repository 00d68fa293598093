/**
 * The messages between the broker and a doorman, on a socketpair of type seqpacket. To the doorman: JSON, with
 * descriptors. From it: three 32-bit words, so that the broker parses nothing of what strangers sent. Pure.
 */
import type { Refusing } from "../../net/join-shapes.ts";

/** `none`: the broker watches, as without a doorman. */
export type Asleep = "none" | "a2s" | "quake3" | "minecraft" | "bedrock" | "teeworlds";

/** What starts the server: a join, one from a network that is known, or any packet that is no status query. */
export type WakeOn = "join" | "known-address" | "any";

/** What a sleeping server says about itself: `SleepingServer` of the package berthd-doorman. */
export interface AsleepServer {
  readonly name: string;
  readonly map: string;
  readonly slots: number;
  readonly game?: string;
  readonly version?: string;
  readonly protocol?: number;
  readonly port?: number;
}

/** Watch these sockets, which come with the message in this order. */
export interface WatchOrder {
  readonly watch: number;
  readonly asleep: Exclude<Asleep, "none">;
  readonly wake: WakeOn;
  /** Those that are known: ADDRESS/BITS. */
  readonly networks: readonly string[];
  readonly server: AsleepServer;
  /** What a player reads whose connection cannot be kept until the server runs. */
  readonly refusal: string;
  /** Datagrams that have waited longer are dropped, in milliseconds. */
  readonly discardAfter: number;
  readonly kinds: readonly ("datagram" | "stream")[];
  /**
   * How long a login waits in the queue of a stream for the server, in milliseconds. Undefined: none waits. Otherwise
   * two descriptors for each stream come after the sockets: a ring, and the program that fills it
   * (net/arrival-program.ts).
   */
  readonly hold?: number;
}

/**
 * Turn players away who join a server that drains. With "minecraft", the message brings listening sockets, which get
 * only the connections of these players. With other protocols it brings a ring with copies of their joins
 * (net/join-program.ts), then the server's sockets.
 */
export interface RefuseOrder {
  readonly watch: number;
  readonly refuse: Refusing;
  readonly server: AsleepServer;
  /** What these players read. `{when}` stands for the time that is left. */
  readonly text: string;
  /** When the server is stopped at the latest, in milliseconds of the clock CLOCK_MONOTONIC. */
  readonly deadline?: number;
}

/** Watch the sockets of these orders no longer, close them, and report `dropped` with the number of this order. */
export interface DropOrder {
  readonly drop: readonly number[];
  readonly number: number;
}

/** Ask a server that runs how many play, on these sockets, which are connected to it, and report `players`. */
export interface AskOrder {
  readonly ask: number;
  readonly asleep: Exclude<Asleep, "none">;
  readonly kinds: readonly ("datagram" | "stream")[];
  /** Where a stream is connected. */
  readonly port: number;
}

export type Order = WatchOrder | RefuseOrder | DropOrder | AskOrder;

/** The longest message to a doorman. */
export const ORDER_BYTES = 32_768;
/** How many watches one order may drop, so that it stays below that. */
export const MOST_DROPS = 1000;

export function encodeOrder(order: Order): Uint8Array {
  return Buffer.from(JSON.stringify(order));
}

/** It comes from the broker, so it is what was encoded. */
export function decodeOrder(bytes: Uint8Array): Order {
  return JSON.parse(Buffer.from(bytes).toString());
}

/**
 * `ready`: confined. `wake`: somebody wants to play at the socket with this index. `dropped`: its copies of the sockets
 * of this order are closed. `served`: the server accepts, so no login of this watch waits any more. `players`: how many
 * play on the server that was asked; undefined if it does not answer.
 */
export type Report =
  | { readonly report: "ready" }
  | { readonly report: "wake"; readonly watch: number; readonly index: number }
  | { readonly report: "dropped"; readonly number: number }
  | { readonly report: "served"; readonly watch: number }
  | { readonly report: "players"; readonly ask: number; readonly players: number | undefined };

const [READY, WAKE, DROPPED, PLAYERS, SERVED] = [1, 2, 3, 4, 5];
/** More than any server has. */
const MOST_PLAYERS = 1_000_000;
const UNKNOWN = -1;

export const REPORT_BYTES = 12;

export function encodeReport(report: Report): Uint8Array {
  switch (report.report) {
    case "ready":
      return words(READY, 0, 0);
    case "wake":
      return words(WAKE, report.watch, report.index);
    case "dropped":
      return words(DROPPED, report.number, 0);
    case "served":
      return words(SERVED, report.watch, 0);
    case "players":
      return words(PLAYERS, report.ask, report.players ?? UNKNOWN);
    default:
      return report satisfies never;
  }
}

/** Undefined if it is none. */
export function decodeReport(bytes: Uint8Array): Report | undefined {
  if (bytes.length !== REPORT_BYTES) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const [kind, first, second] = [view.readInt32LE(0), view.readInt32LE(4), view.readInt32LE(8)];
  if (kind === READY) return { report: "ready" };
  if (kind === WAKE) return { report: "wake", watch: first, index: second };
  if (kind === DROPPED) return { report: "dropped", number: first };
  if (kind === SERVED) return { report: "served", watch: first };
  if (kind !== PLAYERS || second < UNKNOWN || second > MOST_PLAYERS) return undefined;
  return { report: "players", ask: first, players: second === UNKNOWN ? undefined : second };
}

function words(...values: readonly (number | undefined)[]): Uint8Array {
  const bytes = Buffer.alloc(REPORT_BYTES);
  for (const [at, value = 0] of values.entries()) bytes.writeInt32LE(value, at * 4);
  return bytes;
}
