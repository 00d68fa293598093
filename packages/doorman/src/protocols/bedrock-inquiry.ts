/** Asks a server of Minecraft Bedrock how many play, by RakNet's unconnected ping (https://minecraft.wiki/w/RakNet). */
import { hasAt, uint32, view } from "../bytes.ts";
import { DatagramInquiry, readCount } from "../inquiry.ts";
import { MAGIC } from "./bedrock-magic.ts";

const PING = 0x01;
const PONG = 0x1c;
/** The kind, the time of the ping, the server's GUID. */
const MAGIC_AT = 17;
const LENGTH_AT = MAGIC_AT + 16;
const TEXT_AT = LENGTH_AT + 2;
/** MCPE, name, protocol, version; then how many play. */
const PLAYERS_FIELD = 4;

export class BedrockInquiry extends DatagramInquiry {
  readonly #time: Buffer;

  constructor(nonce: number) {
    const time = Buffer.concat([uint32(0), uint32(nonce)]);
    super(Buffer.concat([Buffer.of(PING), time, MAGIC, time]));
    this.#time = time;
  }

  protected override read(packet: Uint8Array): void {
    if (packet[0] !== PONG || !hasAt(packet, 1, this.#time) || !hasAt(packet, MAGIC_AT, MAGIC)) return;
    if (packet.length < TEXT_AT) return;
    const bytes = view(packet);
    const text = bytes.toString("utf8", TEXT_AT, TEXT_AT + bytes.readUInt16BE(LENGTH_AT));
    // A backslash stands before a semicolon that separates nothing.
    this.end(readCount(text.split(/(?<!\\);/)[PLAYERS_FIELD]));
  }
}
