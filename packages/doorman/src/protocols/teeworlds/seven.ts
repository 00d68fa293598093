/**
 * Teeworlds 0.7 (src/engine/shared/network.h, network_token.cpp). A client first asks for a token, in a packet that is
 * longer than its answer. Then it asks or joins with that token, which is our challenge.
 */
import { hasAt, uint32, view } from "../../bytes.ts";
import type { Answer, Challenge, Kind, SleepingServer } from "../../protocol.ts";
import { count, endedBy, endedUtf8 } from "../../text.ts";
import { infoPacket, tokenAt } from "./browse.ts";
import { CONTROL, NO_TOKEN, OUTSIDE, TOKEN } from "./seven-packets.ts";

const CONNECT = 1;
const CLOSE = 4;
const KIND_AT = 7;
/** A client shows no reason that is longer (CNetConnection::Feed). */
const LONGEST_REASON = 250;
const OUTSIDE_HEADER = 9;
/** A request for a token is padded, so that no answer is longer (NET_TOKENREQUEST_DATASIZE). */
const LEAST_TOKEN_REQUEST = 512;
const LONGEST_TEXT = 63;

export function classifySeven(packet: Uint8Array): Kind {
  if (infoTokenAt(packet) !== undefined) return "status";
  if (!hasAt(packet, 0, CONTROL) || packet.length < KIND_AT + 5) return "other";
  const hasToken = !hasAt(packet, CONTROL.length, NO_TOKEN);
  if (packet[KIND_AT] === TOKEN && packet.length >= LEAST_TOKEN_REQUEST) return "status";
  return packet[KIND_AT] === CONNECT && hasToken ? "join" : "other";
}

/** Closes the connection with a reason, as a full server does. The token is the client's: it shows who is meant. */
export function refuseSeven(beginning: Uint8Array, length: number, text: string): Uint8Array | undefined {
  if (!hasAt(beginning, 0, CONTROL) || beginning[KIND_AT] !== CONNECT) return undefined;
  const token = beginning.subarray(KIND_AT + 1, KIND_AT + 5);
  const head = Buffer.concat([CONTROL, token, Buffer.of(CLOSE)]);
  return token.length < 4 ? undefined : endedBy(text, head, Math.min(length, head.length + LONGEST_REASON));
}

function infoTokenAt(packet: Uint8Array): number | undefined {
  return packet[0] === OUTSIDE ? tokenAt(packet, OUTSIDE_HEADER) : undefined;
}

export function answerSeven(packet: Uint8Array, server: SleepingServer, challenge: Challenge): Answer | undefined {
  if (classifySeven(packet) !== "status") return undefined;
  const bytes = view(packet);
  const own = uint32(challenge.value);
  if (packet[0] !== OUTSIDE) {
    const asker = bytes.subarray(KIND_AT + 1, KIND_AT + 5);
    return { bytes: Buffer.concat([CONTROL, asker, Buffer.of(TOKEN), own]), proven: false };
  }
  const shown = bytes.readUInt32BE(1);
  if (!challenge.met(shown)) return undefined;
  const asker = bytes.subarray(5, OUTSIDE_HEADER);
  const header = Buffer.concat([Buffer.of(OUTSIDE), asker, uint32(shown)]);
  return { bytes: infoPacket(header, info(server, questionToken(packet))), proven: true };
}

/** The number after the question, as it came: at most five bytes, each but the last with its highest bit set. */
function questionToken(packet: Uint8Array): Buffer {
  const at = infoTokenAt(packet) ?? packet.length;
  const bytes = view(packet).subarray(at, at + 5);
  const last = bytes.findIndex((byte) => byte < 0x80);
  return last < 0 ? Buffer.of(0) : bytes.subarray(0, last + 1);
}

function info({ name, map, slots, game = "DM", version = "0.7.5" }: SleepingServer, token: Buffer): Buffer {
  const most = packed(count(slots, 1024));
  // Version, name, host name, map, mode; flags, skill level, players and their most, clients and their most.
  const texts = [version, name, "", map, game].map((text) => endedUtf8(text, LONGEST_TEXT));
  const [none, normal] = [packed(0), packed(1)];
  return Buffer.concat([token, ...texts, none, normal, none, most, none, most]);
}

/** A count as Teeworlds packs it: 6 bits, then 7 bits at a time (src/engine/shared/compression.cpp). */
export function packed(value: number): Buffer {
  const bytes = [value & 0x3f];
  for (let rest = value >> 6; rest > 0; rest >>= 7) {
    bytes.push((bytes.pop() ?? 0) | 0x80, rest & 0x7f);
  }
  return Buffer.from(bytes);
}
