/** How many sockets an address has, as the kernel lists them (proc_pid_net(5)). */
import { readFileSync } from "node:fs";
import { endianness } from "node:os";
import { type Address, encodeSockaddr, type ListenAddress } from "../../net/address.ts";

/** TCP_LISTEN, include/net/tcp_states.h. */
const LISTENS = "0A";

/** Those where that process is: sockets of UDP, and of TCP those that listen. None if the process has ended. */
export function socketsAt(pid: number, { kind, address }: ListenAddress): number {
  if (address.family === "unix") return 0;
  const list = `${kind === "datagram" ? "udp" : "tcp"}${address.family === "ipv6" ? "6" : ""}`;
  const local = written(address);
  try {
    return readFileSync(`/proc/${pid}/net/${list}`, "utf8")
      .split("\n")
      .map((row) => row.trim().split(/\s+/))
      .filter(([, at, , state]) => at === local && (kind === "datagram" || state === LISTENS)).length;
  } catch {
    return 0;
  }
}

/** An address as these lists have it: 32-bit words in the machine's order, in hexadecimal. */
function written(address: Address & { readonly port: number }): string {
  const bytes = encodeSockaddr(address);
  const host = address.family === "ipv4" ? bytes.subarray(4, 8) : bytes.subarray(8, 24);
  const words = Array.from({ length: host.length / 4 }, (_, at) =>
    endianness() === "LE" ? host.readUInt32LE(at * 4) : host.readUInt32BE(at * 4),
  );
  const hex = (number: number, digits: number): string => number.toString(16).toUpperCase().padStart(digits, "0");
  return `${words.map((word) => hex(word, 8)).join("")}:${hex(address.port, 4)}`;
}
