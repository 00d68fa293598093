/**
 * The package berthd-doorman, as the process uses it. Only the process loads it, by the address that it is given: so
 * nothing else of berthd can (test/doorman/codecs.test.ts compares the types).
 */
import type { AsleepServer } from "./messages.ts";

export type Kind = "status" | "join" | "other";

export interface Challenge {
  readonly value: number;
  met(value: number): boolean;
}

export interface Answer {
  readonly bytes: Uint8Array;
  readonly proven: boolean;
}

export interface Inquiry {
  readonly asks: readonly Uint8Array[];
  readonly players: number | undefined;
  readonly isOver: boolean;
  feed(bytes: Uint8Array): boolean;
}

export interface DatagramCodec {
  classify(packet: Uint8Array): Kind;
  answer(packet: Uint8Array, server: AsleepServer, challenge: Challenge): Answer | undefined;
  refuse(beginning: Uint8Array, length: number, text: string): Uint8Array | undefined;
  inquire(nonce: number): Inquiry;
}

export interface Turn {
  readonly kind: Kind | undefined;
  readonly reply: Uint8Array;
  readonly ends: boolean;
}

export interface Conversation {
  feed(bytes: Uint8Array): Turn;
}

export interface Codecs {
  readonly datagramProtocols: Readonly<Record<"a2s" | "quake3" | "bedrock" | "teeworlds", DatagramCodec>>;
  readonly minecraft: {
    converse(server: AsleepServer, refusal: string): Conversation;
    turnAway(server: AsleepServer, refusal: string): Conversation;
    inquire(port: number): Inquiry;
  };
  readonly AnswerBudget: new () => { allows(network: string, asked: number, answer: Answer, now: number): boolean };
  readonly Challenges: new (secret: Uint8Array) => { for(asker: string, now: number): Challenge };
  networkOf(address: string): string;
}
