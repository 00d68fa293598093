/**
 * Minecraft Bedrock, by RakNet: the unconnected ping that server lists send, and the open connection request that a
 * player begins with (https://minecraft.wiki/w/RakNet). The ping has no challenge.
 */
import { hasAt, uint16, view } from "../bytes.ts";
import type { Answer, DatagramProtocol, Kind, SleepingServer } from "../protocol.ts";
import { count, utf8 } from "../text.ts";
import { BedrockInquiry } from "./bedrock-inquiry.ts";
import { MAGIC } from "./bedrock-magic.ts";

const PING = 0x01;
const PING_OPEN = 0x02;
const PONG = 0x1c;
const REQUEST_1 = 0x05;
const REQUEST_2 = 0x07;

/** The kind, a time of 8 bytes, and the magic. The client's GUID follows, but not from every tool. */
const PING_LENGTH = 25;
/** The first request is padded to the size of packet that it tests; clients begin with 1492 and give up below 576. */
const LEAST_REQUEST_1 = 400;
/** The kind, the magic, an address of IPv4, the size of packets, the client's GUID. */
const LEAST_REQUEST_2 = 34;

const LONGEST_TEXT = 64;
/** `;` separates the fields. */
const RESERVED = ";\\";

export const bedrock: DatagramProtocol = {
  name: "bedrock",
  isChallenged: false,
  classify,
  answer,
  // What RakNet says to a client that it does not let in has no text.
  refuse: () => undefined,
  inquire: (nonce) => new BedrockInquiry(nonce),
};

function classify(packet: Uint8Array): Kind {
  switch (packet[0]) {
    case PING:
    case PING_OPEN:
      return packet.length >= PING_LENGTH && hasAt(packet, 9, MAGIC) ? "status" : "other";
    case REQUEST_1:
      return packet.length >= LEAST_REQUEST_1 && hasAt(packet, 1, MAGIC) ? "join" : "other";
    case REQUEST_2:
      return packet.length >= LEAST_REQUEST_2 && hasAt(packet, 1, MAGIC) ? "join" : "other";
    default:
      return "other";
  }
}

function answer(packet: Uint8Array, server: SleepingServer): Answer | undefined {
  if (classify(packet) !== "status") return undefined;
  const time = view(packet).subarray(1, 9);
  const id = BigInt.asUintN(64, server.id ?? 1n);
  const guid = Buffer.alloc(8);
  guid.writeBigUInt64BE(id);
  const text = said(server, id);
  return { bytes: Buffer.concat([Buffer.of(PONG), time, guid, MAGIC, uint16(text.length), text]), proven: false };
}

/** The fields of the text that a server list reads. */
function said(server: SleepingServer, id: bigint): Buffer {
  const { name, map, slots, game = "Survival", version = "1.21.80", protocol = 800, port = 19132 } = server;
  const text = (value: string): string => utf8(value, LONGEST_TEXT, RESERVED).toString("utf8");
  const ports = [count(port, 65_535), count(port, 65_535)];
  const versions = [count(protocol, 0x7fffffff), text(version)];
  const fields = ["MCPE", text(name), ...versions, 0, count(slots, 65_535), id, text(map), text(game), 1, ...ports];
  return Buffer.from(`${fields.join(";")};`, "utf8");
}
