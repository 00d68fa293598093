/**
 * Which processes have the socket of an address: the kernel lists addresses in /proc/net, and the descriptors of each
 * process in /proc/PID/fd. It touches no socket and no process.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import type { Address, ListenAddress } from "../../../net/address.ts";
import { asListed, fromListed, tableOf } from "../../../net/proc-net.ts";
import type { SocketKind } from "../../../net/transport.ts";
import { knownSocketsOf } from "./process-sockets.ts";

/** A process and its descriptor of a socket. */
export interface Holder {
  readonly pid: number;
  readonly fd: number;
}

/** Of a row of /proc/net: the columns `st` and `inode`. */
interface Row {
  readonly state: string;
  readonly inode: string;
}

/** Reads each table of /proc/net once. */
export class SocketTables {
  readonly #rows = new Map<string, readonly string[]>();
  /** The rows of each table by the local address in them. */
  readonly #byAddress = new Map<string, ReadonlyMap<string, readonly Row[]>>();
  /** The columns of each table's rows, by inode. */
  readonly #byInode = new Map<string, ReadonlyMap<string, string>>();

  /** The inodes of the sockets that are bound to exactly this address. One that should listen does. */
  boundTo({ kind, address }: ListenAddress): bigint[] {
    if (address.family === "unix") {
      const name = address.abstract ? `@${address.path}` : address.path;
      return this.#table("unix").flatMap((row) => {
        const found = /^\S+ \S+ \S+ (\S+) \S+ \S+ +(\d+) (.*)$/.exec(row);
        const listens = kind === "datagram" || (Number.parseInt(found?.[1] ?? "0", 16) & UNIX_LISTENS) !== 0;
        return found?.[3] === name && listens ? [BigInt(found[2] ?? 0)] : [];
      });
    }
    if (address.port === 0) return [];
    const rows = this.#addresses(tableOf(kind, address.family));
    if (rows.size === 0) return [];
    const bound = rows.get(asListed(address)) ?? [];
    return bound.filter(({ state }) => kind === "datagram" || state === TCP_LISTEN).map(({ inode }) => BigInt(inode));
  }

  /** The rows of a table by local address, sorted once: ten thousand berths may look for theirs. */
  #addresses(table: string): ReadonlyMap<string, readonly Row[]> {
    const known = this.#byAddress.get(table);
    if (known !== undefined) return known;
    const rows = new Map<string, Row[]>();
    for (const text of this.#table(table)) {
      const [, local, , state, , , , , , inode] = text.trim().split(/\s+/);
      if (local === undefined || state === undefined || inode === undefined) continue;
      const there = rows.get(local);
      if (there === undefined) rows.set(local, [{ state, inode }]);
      else there.push({ state, inode });
    }
    this.#byAddress.set(table, rows);
    return rows;
  }

  /**
   * Where an internet socket is bound; undefined when it is not listed, as a TCP socket that does not listen. A scope
   * is not listed.
   */
  addressOf(kind: SocketKind, family: "ipv4" | "ipv6", inode: bigint): Address | undefined {
    const table = tableOf(kind, family);
    let known = this.#byInode.get(table);
    if (known === undefined) {
      known = new Map(
        this.#table(table).map((row) => {
          const [, local = "", , , , , , , , number = ""] = row.trim().split(/\s+/);
          return [number, local];
        }),
      );
      this.#byInode.set(table, known);
    }
    const local = known.get(String(inode));
    return local === undefined ? undefined : fromListed(local, family);
  }

  #table(name: string): readonly string[] {
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const rows = (textOf(`/proc/net/${name}`) ?? "").split("\n").slice(1);
    this.#rows.set(name, rows);
    return rows;
  }
}

const TCP_LISTEN = "0A";
/** __SO_ACCEPTCON in the column Flags. */
const UNIX_LISTENS = 0x10000;
/** Every process, but this one, that has one of these sockets. */
export function holdersOf(
  inodes: readonly bigint[],
  look: (pid: number) => ReadonlyMap<number, bigint> = knownSocketsOf,
): Map<bigint, Holder[]> {
  const wanted = new Set(inodes);
  const found = new Map<bigint, Holder[]>();
  if (wanted.size === 0) return found;
  for (const name of namesIn("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    for (const [fd, inode] of look(Number(name))) {
      if (!wanted.has(inode)) continue;
      const holders = found.get(inode) ?? [];
      found.set(inode, holders);
      if (!holders.some(({ pid }) => pid === Number(name))) holders.push({ pid: Number(name), fd });
    }
  }
  return found;
}

/** How long a search goes on before others get their turn, in milliseconds. */
const SLICE_MS = 5;

/** The processes of some users that have one of these sockets. Others are served meanwhile, however many there are. */
export async function holdersAmong(
  inodes: readonly bigint[],
  isTheirs: (uid: number) => boolean,
): Promise<{ readonly pid: number; readonly inode: bigint }[]> {
  const wanted = new Set(inodes);
  const found: { readonly pid: number; readonly inode: bigint }[] = [];
  let since = performance.now();
  for (const name of namesIn("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid || !isOf(name, isTheirs)) continue;
    if (performance.now() - since > SLICE_MS) {
      await setImmediate();
      since = performance.now();
    }
    for (const inode of knownSocketsOf(Number(name)).values()) {
      if (!wanted.has(inode)) continue;
      found.push({ pid: Number(name), inode });
      break;
    }
  }
  return found;
}

/** Whether a process is one of those users', and has the socket. */
export function hasSocket(pid: number, inode: bigint, isTheirs: (uid: number) => boolean): boolean {
  return isOf(String(pid), isTheirs) && [...knownSocketsOf(pid).values()].includes(inode);
}

/** By its effective user id. */
function isOf(pid: string, isTheirs: (uid: number) => boolean): boolean {
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(textOf(`/proc/${pid}/status`) ?? "")?.[1];
  return uid !== undefined && isTheirs(Number(uid));
}

/** For a message: `pid 812 (nginx)` of each process that has the address; undefined when none can be found. */
export function describeHolders(listen: ListenAddress): string | undefined {
  const inodes = new SocketTables().boundTo(listen);
  const pids = new Set([...holdersOf(inodes).values()].flat().map(({ pid }) => pid));
  if (pids.size === 0) return undefined;
  return Array.from(pids, (pid) => `pid ${pid} (${(textOf(`/proc/${pid}/comm`) ?? "?").trim()})`).join(", ");
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined; // it has exited
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // it has exited, or is another user's
  }
}
