/** What the two versions have in common: the words of the server browser (mastersrv.h). */
import { CONNECTIONLESS, hasAt, hasTextAt } from "../../bytes.ts";

const GET_INFO = "gie3";
const INFO = "inf3";
const WORD_LENGTH = 8;

/** Where the token of the question begins, if the server's info is asked for. Undefined if it is not. */
export function tokenAt(packet: Uint8Array, headerLength: number): number | undefined {
  const isAsked = hasAt(packet, headerLength, CONNECTIONLESS) && hasTextAt(packet, headerLength + 4, GET_INFO);
  const at = headerLength + WORD_LENGTH;
  return isAsked && packet.length > at ? at : undefined;
}

export function infoPacket(header: Uint8Array, body: Uint8Array): Buffer {
  return Buffer.concat([header, CONNECTIONLESS, Buffer.from(INFO, "latin1"), body]);
}
