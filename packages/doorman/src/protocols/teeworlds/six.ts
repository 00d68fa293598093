/** Teeworlds 0.6 and DDNet (src/engine/shared/network.h of either). The query has no challenge. */
import { hasAt, hasTextAt, isZeroFrom } from "../../bytes.ts";
import type { Answer, Kind, SleepingServer } from "../../protocol.ts";
import { count, endedUtf8 } from "../../text.ts";
import { infoPacket, tokenAt } from "./browse.ts";

const HEADER = Buffer.alloc(6, 0xff);
/** A control message, no acknowledgement, no chunk; then CONNECT. */
const CONNECT = Buffer.of(0x10, 0, 0, 1);
const LONGEST_TEXT = 63;

export function classifySix(packet: Uint8Array): Kind {
  if (infoTokenAt(packet) !== undefined) return "status";
  if (!hasAt(packet, 0, CONNECT)) return "other";
  // DDNet asks for a token.
  return hasTextAt(packet, CONNECT.length, "TKEN") || isZeroFrom(packet, CONNECT.length) ? "join" : "other";
}

/** The header of DDNet begins with `xe` and has more of the token: servers that do not know it ignore it. */
function infoTokenAt(packet: Uint8Array): number | undefined {
  const hasHeader = hasAt(packet, 0, HEADER) || hasTextAt(packet, 0, "xe");
  return hasHeader ? tokenAt(packet, HEADER.length) : undefined;
}

export function answerSix(packet: Uint8Array, server: SleepingServer): Answer | undefined {
  const at = infoTokenAt(packet);
  if (at === undefined) return undefined;
  const { name, map, slots, game = "DM", version = "0.6" } = server;
  const most = String(count(slots, 1024));
  const fields = [String(packet[at]), version, name, map, game, "0", "0", most, "0", most];
  const body = fields.map((field) => endedUtf8(field, LONGEST_TEXT));
  return { bytes: infoPacket(HEADER, Buffer.concat(body)), proven: false };
}
