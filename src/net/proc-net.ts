/** Addresses in the kernel's lists of sockets: /proc/net/tcp, udp, tcp6 and udp6 (proc_net(5)). Pure. */
import { endianness } from "node:os";
import { type Address, AF_INET, AF_INET6, decodeSockaddr, encodeSockaddr, type InetAddress } from "./address.ts";
import type { SocketKind } from "./transport.ts";

export type TableName = "udp" | "udp6" | "tcp" | "tcp6";

/** The list that has such a socket. */
export function tableOf(kind: SocketKind, family: "ipv4" | "ipv6"): TableName {
  return `${kind === "datagram" ? "udp" : "tcp"}${family === "ipv6" ? "6" : ""}`;
}

/** `HOST:PORT` in hexadecimal digits. The kernel prints each word of an address as a number in its own byte order. */
export function asListed(address: InetAddress): string {
  const { family, port } = address;
  const sockaddr = encodeSockaddr(address);
  const bytes = family === "ipv6" ? sockaddr.subarray(8, 24) : sockaddr.subarray(4, 8);
  const words = Array.from({ length: bytes.length / 4 }, (_, index) => bytes.slice(4 * index, 4 * index + 4));
  const host = words.map((word) => Buffer.from(endianness() === "LE" ? word.reverse() : word).toString("hex"));
  return `${host.join("")}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}

/** The other way round. */
export function fromListed(text: string, family: "ipv4" | "ipv6"): Address | undefined {
  const [host = "", port = ""] = text.split(":");
  const bytes = Buffer.alloc(family === "ipv6" ? 28 : 16);
  bytes[endianness() === "LE" ? 0 : 1] = family === "ipv6" ? AF_INET6 : AF_INET;
  bytes.writeUInt16BE(Number.parseInt(port, 16), 2);
  const start = family === "ipv6" ? 8 : 4;
  for (let at = 0; at < host.length; at += 8) {
    const word = Buffer.from(host.slice(at, at + 8), "hex");
    bytes.set(endianness() === "LE" ? word.reverse() : word, start + at / 2);
  }
  return decodeSockaddr(bytes);
}
