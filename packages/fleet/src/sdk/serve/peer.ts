/**
 * Whose socket is at the other end of a connection on loopback: TCP tells no credentials, but the kernel's lists of
 * sockets name the user who made each one (proc_net(5)). Asked before the first byte is read.
 */
import { readFile } from "node:fs/promises";
import { endianness } from "node:os";

/** An address and port as Node tells them. */
export interface Place {
  readonly address: string;
  readonly port: number;
}

/** The lists are read in pieces, and may miss a socket while others come and go. */
const TRIES = 3;

export class Peers {
  readonly #read: (file: string) => Promise<string>;
  #next: Promise<readonly string[]> | undefined;
  #now: Promise<unknown> = Promise.resolve();

  /** `read`: tests pass their own. */
  constructor(read: (file: string) => Promise<string> = (file) => readFile(file, "latin1")) {
    this.#read = read;
  }

  /** The user id of the socket that is connected from `peer` to `own`; undefined if nobody has it any more. */
  async uidOf(peer: Place, own: Place): Promise<number | undefined> {
    for (let tries = 0; tries < TRIES; tries++) {
      const uid = uidIn(await this.#lists(), peer, own);
      if (uid !== undefined) return uid;
    }
    return undefined;
  }

  /** Lists that are read after this call. Calls that come while others are read share the next ones. */
  #lists(): Promise<readonly string[]> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#now.then(() => {
      this.#next = undefined;
      const lists = Promise.all(["/proc/net/tcp", "/proc/net/tcp6"].map((file) => this.#read(file).catch(() => "")));
      this.#now = lists;
      return lists;
    });
    this.#next = next;
    return next;
  }
}

/**
 * Finds the line of the peer's socket. One that its process has closed has no inode any more, and older kernels name
 * user 0 for it, who would be root (test/fleet/sdk/strangers.test.ts).
 */
export function uidIn(lists: readonly string[], peer: Place, own: Place): number | undefined {
  for (const text of lists)
    for (const [from, to] of [
      [listed(peer, false), listed(own, false)],
      [listed(peer, true), listed(own, true)],
    ]) {
      if (from === undefined || to === undefined) continue;
      const at = text.indexOf(` ${from} ${to} `);
      if (at < 0) continue;
      // st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
      const [, , , , uid, , inode] = text
        .slice(at + from.length + to.length + 3)
        .trimStart()
        .split(/\s+/, 7);
      if (uid !== undefined && /^\d+$/.test(uid) && inode !== "0") return Number(uid);
    }
  return undefined;
}

/** `HOST:PORT` in hexadecimal: each word of the address is a number in the machine's order. */
function listed({ address, port }: Place, asMapped: boolean): string | undefined {
  const bytes = bytesOf(address, asMapped);
  if (bytes === undefined) return undefined;
  if (endianness() === "LE") for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  return `${bytes.toString("hex")}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}

/** Loopback alone: 127.0.0.0/8, also as an IPv6 socket has it, and ::1. */
function bytesOf(address: string, asMapped: boolean): Buffer | undefined {
  if (address === "::1") return asMapped ? undefined : Buffer.from([...new Array<number>(15).fill(0), 1]);
  const four = Buffer.from(address.split(".").map(Number));
  if (four.length !== 4) return undefined;
  return asMapped ? Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), four]) : four;
}
