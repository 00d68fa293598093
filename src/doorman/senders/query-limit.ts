/**
 * How many queries, or joins, are answered in each second: of one network on one socket, and in all. It is asked before
 * any other work, so that a flood of queries costs little more than reading them.
 */
import { endianness } from "node:os";
import { AF_INET } from "../../net/address.ts";

/** A server list asks once or twice, with a challenge; many players may share a network. */
export const MOST_OF_NETWORK = 50;
export const MOST_IN_ALL = 5000;
const SECOND_MS = 1000;
const IS_LITTLE = endianness() === "LE";

export class QueryLimit {
  readonly #counts = new Map<string, number>();
  #all = 0;
  #since = 0;

  /** Whether a query may be answered; if so, it counts. `now`: milliseconds of a clock that only goes forward. */
  allows(socket: number, sockaddr: Uint8Array, now: number): boolean {
    if (now - this.#since >= SECOND_MS) {
      this.#counts.clear();
      this.#all = 0;
      this.#since = now;
    }
    if (this.#all >= MOST_IN_ALL) return false;
    const key = `${socket} ${networkBytes(sockaddr)}`;
    const count = this.#counts.get(key) ?? 0;
    if (count >= MOST_OF_NETWORK) return false;
    this.#counts.set(key, count + 1);
    this.#all++;
    return true;
  }
}

/** The first 24 bits of an IPv4 address, also where it is mapped into IPv6, or 64 of IPv6 (ip(7), ipv6(7)). */
function networkBytes(sockaddr: Uint8Array): string {
  const bytes = Buffer.from(sockaddr.buffer, sockaddr.byteOffset, sockaddr.byteLength);
  if ((IS_LITTLE ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0)) === AF_INET) return bytes.toString("latin1", 4, 7);
  const isMapped = bytes.readUInt32BE(8) === 0 && bytes.readUInt32BE(12) === 0 && bytes.readUInt32BE(16) === 0xffff;
  return isMapped ? bytes.toString("latin1", 20, 23) : bytes.toString("latin1", 8, 16);
}
