/** Who sent something, from a sockaddr. An IPv4 address that is mapped into IPv6 is shown as the IPv4 address. */
import { decodeSockaddr, mappedIPv4 } from "../../net/address.ts";

export interface Sender {
  readonly host: string;
  readonly family: "ipv4" | "ipv6";
  readonly port: number;
  /** Of its sockaddr: sockaddr_in or sockaddr_in6. */
  readonly length: number;
}

/** Undefined for a UNIX socket. */
export function senderOf(sockaddr: Uint8Array): Sender | undefined {
  const from = decodeSockaddr(sockaddr);
  if (from === undefined || from.family === "unix") return undefined;
  const { host, family, port } = from;
  if (family === "ipv4") return { host, family, port, length: 16 };
  const mapped = mappedIPv4(host);
  return mapped === undefined ? { host, family, port, length: 28 } : { host: mapped, family: "ipv4", port, length: 28 };
}
