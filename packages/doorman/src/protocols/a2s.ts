/**
 * A2S, the queries of Source and GoldSrc servers (https://developer.valvesoftware.com/wiki/Server_queries), and how
 * their clients connect. Games with a query port of their own speak another protocol on their game port.
 */
import { CONNECTIONLESS, hasAt, hasTextAt, view } from "../bytes.ts";
import type { Answer, Challenge, DatagramProtocol, Kind, SleepingServer } from "../protocol.ts";
import { count, endedBy, endedUtf8 } from "../text.ts";
import { A2sInquiry } from "./a2s-inquiry.ts";

const INFO = 0x54;
const PLAYERS = 0x55;
const RULES = 0x56;
const LEGACY_CHALLENGE = 0x57;
const GET_CHALLENGE = 0x71;
const CONNECT = 0x6b;
const INFO_TEXT = "Source Engine Query\0";
/** The header, the kind, and the text: a challenge may follow. */
const INFO_LENGTH = 25;
/** The header, the kind, and a challenge. */
const CHALLENGED_LENGTH = 9;
const LONGEST_TEXT = 63;

/** Source's connect: versions of the protocol and of the proof of identity, and two challenges. Then texts. */
const CONNECT_LENGTH = 21;
/** Where the second one is: the client's own, which a rejection has to repeat. */
const OWN_CHALLENGE = 17;
/** Versions from here on are of CS:GO, whose connect has no challenge of the client's. */
const FIRST_OF_CSGO = 10_000;
const REJECT = Buffer.concat([CONNECTIONLESS, Buffer.from("9", "latin1")]);
/** GoldSrc takes the text for a format of printf(3). */
const RESERVED = "%";

export const a2s: DatagramProtocol = {
  name: "a2s",
  isChallenged: true,
  classify,
  answer,
  refuse,
  inquire: () => new A2sInquiry(),
};

function classify(packet: Uint8Array): Kind {
  if (!hasAt(packet, 0, CONNECTIONLESS)) return "other";
  switch (packet[4]) {
    case INFO:
      return hasTextAt(packet, 5, INFO_TEXT) ? "status" : "other";
    case PLAYERS:
    case RULES:
      return packet.length === CHALLENGED_LENGTH ? "status" : "other";
    case LEGACY_CHALLENGE:
      return packet.length === 5 || packet.length === CHALLENGED_LENGTH ? "status" : "other";
    case GET_CHALLENGE:
      return asksToConnect(packet) ? "join" : "other";
    case CONNECT:
      return connects(packet) ? "join" : "other";
    default:
      return classifyText(view(packet).toString("latin1", 4, 64));
  }
}

/** Source 2013: a challenge and padding. Later: the challenge as text. */
function asksToConnect(packet: Uint8Array): boolean {
  return hasTextAt(packet, 9, "0000000000\0") || hasTextAt(packet, 5, "connect0x");
}

function connects(packet: Uint8Array): boolean {
  if (packet.length < CONNECT_LENGTH) return false;
  const bytes = view(packet);
  const version = bytes.readUInt32LE(5);
  const identity = bytes.readUInt32LE(9);
  return version > 0 && version < 0x10000 && (identity === 2 || identity === 3);
}

/** S2C_CONNREJECT, to a connect. A getchallenge is too short for a text. */
function refuse(beginning: Uint8Array, length: number, text: string): Uint8Array | undefined {
  if (!hasAt(beginning, 0, CONNECTIONLESS)) return undefined;
  const bytes = view(beginning);
  if (isGoldSourceConnect(bytes.toString("latin1", 4))) return endedBy(text, REJECT, length, RESERVED);
  if (bytes[4] !== CONNECT || !connects(bytes) || bytes.readUInt32LE(5) >= FIRST_OF_CSGO) return undefined;
  const head = Buffer.concat([REJECT, bytes.subarray(OWN_CHALLENGE, CONNECT_LENGTH)]);
  return endedBy(text, head, length, RESERVED);
}

function isGoldSourceConnect(text: string): boolean {
  return /^connect \d+ /.test(text);
}

/** GoldSrc. */
function classifyText(text: string): Kind {
  if (/^getchallenge(?:[ \n\0]|$)/.test(text)) return "join";
  if (isGoldSourceConnect(text)) return "join";
  return /^(?:details|info|ping|players|rules)[\n\0]?$/.test(text) ? "status" : "other";
}

function answer(packet: Uint8Array, server: SleepingServer, challenge: Challenge): Answer | undefined {
  if (classify(packet) !== "status") return undefined;
  switch (packet[4]) {
    case INFO:
      return answerChallenged(packet, INFO_LENGTH, challenge, () => info(server));
    case PLAYERS:
      return answerChallenged(packet, 5, challenge, () => Buffer.of(0x44, 0));
    case RULES:
      return answerChallenged(packet, 5, challenge, () => Buffer.of(0x45, 0, 0));
    case LEGACY_CHALLENGE:
      // The short form is shorter than the answer.
      return packet.length < CHALLENGED_LENGTH ? undefined : challenging(challenge);
    default:
      return undefined;
  }
}

function answerChallenged(packet: Uint8Array, at: number, challenge: Challenge, body: () => Uint8Array): Answer {
  const isMet = packet.length >= at + 4 && challenge.met(view(packet).readUInt32LE(at));
  return isMet ? { bytes: Buffer.concat([CONNECTIONLESS, body()]), proven: true } : challenging(challenge);
}

function challenging({ value }: Challenge): Answer {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(value);
  return { bytes: Buffer.concat([CONNECTIONLESS, Buffer.of(0x41), number]), proven: false };
}

/** S2A_INFO of a dedicated server on Linux, without a password, without VAC. */
function info({ name, map, slots, game = "", version = "1.0.0.0", protocol = 17, port }: SleepingServer): Buffer {
  const text = (value: string): Buffer => endedUtf8(value, LONGEST_TEXT);
  const appId = Buffer.of(0, 0);
  const flags = port === undefined ? Buffer.of(0) : Buffer.of(0x80, port & 0xff, (port >> 8) & 0xff);
  return Buffer.concat([
    Buffer.of(0x49, count(protocol, 255)),
    ...[text(name), text(map), text(game), text(game), appId],
    Buffer.of(0, count(slots, 255), 0, 0x64, 0x6c, 0, 0),
    ...[text(version), flags],
  ]);
}
