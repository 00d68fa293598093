/** What every protocol offers. A protocol reads and writes bytes: it has no socket, no clock, no state of the host. */
import type { Inquiry } from "./inquiry.ts";

/**
 * What the sender of a packet wants. `status`: to know how the server is, as server lists and monitors do. `join`: to
 * play. `other`: anything else, such as a scan, another protocol, or a player whose server has ended.
 */
export type Kind = "status" | "join" | "other";

/** What a sleeping server says about itself. Text is shortened and cleaned to what the protocol can carry. */
export interface SleepingServer {
  readonly name: string;
  readonly map: string;
  /** How many players fit. Nobody plays. */
  readonly slots: number;
  /** The game, mod or mode, as the protocol has it. Default: the usual one of the protocol. */
  readonly game?: string;
  /** The server's version, as players read it. */
  readonly version?: string;
  /** The number of the game's own network protocol. Clients call a server with another one incompatible. */
  readonly protocol?: number;
  /** The port that players use. */
  readonly port?: number;
  /** A number of 64 bits that stays the server's own (RakNet's GUID). */
  readonly id?: bigint;
}

/** A number that only somebody who receives packets at the asker's address can know. See challenge.ts. */
export interface Challenge {
  /** 32 bits, neither 0 nor 0xffffffff. */
  readonly value: number;
  met(value: number): boolean;
}

export interface Answer {
  readonly bytes: Uint8Array;
  /** Whether the packet had the challenge: then the answer goes to the one who asked, not to a forged address. */
  readonly proven: boolean;
}

export type DatagramName = "a2s" | "quake3" | "bedrock" | "teeworlds";

export interface DatagramProtocol {
  readonly name: DatagramName;
  /**
   * Whether the protocol knows a challenge for every question. Then no answer is longer than its question before the
   * challenge is met. Without, a real client gets no answer that short: see budget.ts.
   */
  readonly isChallenged: boolean;
  /** Never throws, whatever the bytes. */
  classify(packet: Uint8Array): Kind;
  /** The answer to a packet of the kind `status`, or undefined if there is none. Never throws. */
  answer(packet: Uint8Array, server: SleepingServer, challenge: Challenge): Answer | undefined;
  /**
   * Tells a player why a server lets nobody in. `beginning`: the first 64 bytes of the player's packet; `length`: how
   * many it has. The answer is never longer than that, so the text may be cut. Undefined if the protocol cannot tell a
   * player at this packet. Never throws.
   */
  refuse(beginning: Uint8Array, length: number, text: string): Uint8Array | undefined;
  /** Asks a server that runs. `nonce`: 32 bits that others cannot guess, neither 0 nor 0xffffffff. */
  inquire(nonce: number): Inquiry;
}

/** What follows from the bytes that a client has sent last. */
export interface Turn {
  /** Undefined until enough bytes have come. */
  readonly kind: Kind | undefined;
  /** What to send; empty if nothing. */
  readonly reply: Uint8Array;
  /** Whether to close the connection, after the reply. */
  readonly ends: boolean;
}

/** One connection. */
export interface Conversation {
  /** Takes bytes in any pieces. Keeps a bounded number of them. Never throws. After the end it answers nothing. */
  feed(bytes: Uint8Array): Turn;
}

export interface StreamProtocol {
  readonly name: "minecraft";
  /** From all bytes that have come so far. Too few are `other`. Never throws. */
  classify(opening: Uint8Array): Kind;
  /** `refusal` is what a player reads who joins while the server sleeps. */
  converse(server: SleepingServer, refusal: string): Conversation;
  /**
   * As `converse`, of a server that runs and lets nobody in. It tells the list no number of players, for it knows none,
   * and clients before 1.7 nothing, who need one. `refusal` is also what the list shows.
   */
  turnAway(server: SleepingServer, refusal: string): Conversation;
  /** Asks a server that runs. `port`: where it is connected. */
  inquire(port: number): Inquiry;
}
