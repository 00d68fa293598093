/**
 * Lists the open connections to the addresses that berths hold, from the kernel's own lists (proc_net(5)). A list is
 * reused for one second, because reading it takes longer the more connections the host has.
 */
import { readFileSync } from "node:fs";
import { endianness } from "node:os";
import { type Address, encodeSockaddr } from "../../net/address.ts";

const FRESH_MS = 1000;

export class Connections {
  #readAt = Number.NEGATIVE_INFINITY;
  /** Local addresses in the kernel's notation, and ports alone. */
  readonly #tables: Record<"tcp" | "tcp6" | "unix", Set<string>> = { tcp: new Set(), tcp6: new Set(), unix: new Set() };

  /** Whether a client is connected to a socket that listens there. */
  to(address: Address): boolean {
    this.#refresh();
    if (address.family === "unix") return this.#tables.unix.has((address.abstract ? "@" : "") + address.path);
    const table = this.#tables[address.family === "ipv4" ? "tcp" : "tcp6"];
    // sin_addr of a sockaddr_in, sin6_addr of a sockaddr_in6 (ip(7), ipv6(7)).
    const bytes = encodeSockaddr(address);
    const host = address.family === "ipv4" ? bytes.subarray(4, 8) : bytes.subarray(8, 24);
    const port = address.port.toString(16).toUpperCase().padStart(4, "0");
    const isAny = host.every((byte) => byte === 0);
    return table.has(isAny ? port : `${asListed(host)}:${port}`);
  }

  #refresh(): void {
    const now = performance.now();
    if (now - this.#readAt < FRESH_MS) return;
    this.#readAt = now;
    for (const name of ["tcp", "tcp6"] as const) this.#tables[name] = localAddresses(read(name));
    this.#tables.unix = unixPaths(read("unix"));
  }
}

/** Empty where the kernel lacks the protocol. */
function read(name: string): string {
  try {
    return readFileSync(`/proc/self/net/${name}`, "latin1");
  } catch {
    return "";
  }
}

/** From a list of TCP sockets: the local ends of connected ones (state 01), as `ADDRESS:PORT` and as `PORT`. */
export function localAddresses(listing: string): Set<string> {
  const found = new Set<string>();
  for (const [, host, port] of listing.matchAll(/^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 01 /gm)) {
    found.add(`${host}:${port}`);
    found.add(port ?? "");
  }
  return found;
}

/**
 * From a list of UNIX sockets: the paths of those that are connected (03) or wait to be accepted (02). A connection has
 * the path of its listener.
 */
export function unixPaths(listing: string): Set<string> {
  const found = new Set<string>();
  for (const [, path] of listing.matchAll(
    /^[0-9a-f]+: [0-9A-F]{8} [0-9A-F]{8} [0-9A-F]{8} [0-9A-F]{4} 0[23] +\d+ (.+)$/gm,
  )) {
    found.add(path ?? "");
  }
  return found;
}

/** An address as the kernel prints it: 32-bit words in the machine's byte order. */
function asListed(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    text += view
      .getUint32(at, endianness() === "LE")
      .toString(16)
      .toUpperCase()
      .padStart(8, "0");
  }
  return text;
}
