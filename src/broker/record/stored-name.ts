/**
 * What a descriptor in the service manager's store is called: KIND.REST, where REST says whose it is and has a slash,
 * which no name of a berth's socket has. Whoever reads the name back needs nothing else to find its place. Pure.
 */
import { createHash } from "node:crypto";

/** A socket of ours. The numbers tell it from every other, and its path from one that another program put there. */
export interface StoredSocket {
  /** Absent: it is the broker's own, `control` or `notify`. */
  readonly berth?: string;
  readonly socket: string;
  /** {@link keyHash} of everything that was settled when it was bound. */
  readonly hash: string;
  /** Inode of the socket itself. */
  readonly inode: bigint;
  /** Inode of the path of a UNIX socket; "foreign" when a .socket unit made it, and its path is not ours to remove. */
  readonly path?: bigint | "foreign";
}

/** A descriptor that a tenant left, or the carrier of one. `serial` tells two of one name apart. */
export interface StoredStash {
  readonly berth: string;
  readonly name: string;
  readonly lease: string;
  readonly uid: number;
  readonly serial: number;
  readonly packed: boolean;
}

/** Of a lease: its tenant's pidfd and its facts, or the descriptor on which seccomp reports its binds. */
export interface StoredLease {
  readonly berth: string;
  readonly lease: string;
}

/** Of a berth's root: its mount, and a memfd of what is to be known of it. */
export interface StoredRoot {
  readonly berth: string;
}

export type StoredName =
  | ({ readonly kind: "socket" } & StoredSocket)
  | ({ readonly kind: "stash" } & StoredStash)
  | ({ readonly kind: "lease" } & StoredLease)
  | ({ readonly kind: "root" } & StoredRoot)
  | ({ readonly kind: "binds" } & StoredLease)
  | { readonly kind: "lock" }
  | { readonly kind: "keeper" };

/**
 * What only a successor gets, and no store: a pidfd of the broker itself, a file that it has locked, and the channel to
 * its stand-in for binds.
 */
export const BROKER_NAME = "process.broker/pidfd";
export const LOCK_NAME = "lock.broker/file";
export const KEEPER_NAME = "keeper.broker/channel";

/** Sockets of the broker's own. */
const OWN = ["control.socket", "notify.socket"];

export function socketName({ berth, socket, hash, inode, path }: StoredSocket): string {
  const whose = berth === undefined ? `${socket}.socket` : `socket.${berth}.${socket}`;
  return [whose, hash, inode, ...(path === undefined ? [] : [path])].join("/");
}

export function stashName({ berth, name, lease, uid, serial, packed }: StoredStash): string {
  return [`stash.${berth}`, name, lease, uid, serial, ...(packed ? ["packed"] : [])].join("/");
}

export function leaseName(kind: "lease" | "binds", { berth, lease }: StoredLease): string {
  return `${kind}.${berth}/${lease}`;
}

export function rootName({ berth }: StoredRoot): string {
  return `root.${berth}/mount`;
}

/** Takes a name apart; undefined when it is not one of these, as the name a .socket unit gives. */
export function parseStoredName(text: string): StoredName | undefined {
  const [whose = "", ...rest] = text.split("/");
  const dot = whose.indexOf(".");
  const kind = whose.slice(0, dot);
  const berth = whose.slice(dot + 1);
  if (dot < 0 || rest.length === 0) return undefined;
  if (OWN.includes(whose)) return socketOf({ socket: kind }, rest);
  switch (kind) {
    case "socket": {
      const last = berth.lastIndexOf(".");
      return last < 0 ? undefined : socketOf({ berth: berth.slice(0, last), socket: berth.slice(last + 1) }, rest);
    }
    case "stash": {
      const [name, lease, uid = "", serial = "", packed] = rest;
      if (name === undefined || lease === undefined || !isNumber(uid) || !isNumber(serial)) return undefined;
      return { kind, berth, name, lease, uid: Number(uid), serial: Number(serial), packed: packed === "packed" };
    }
    case "root":
      return { kind, berth };
    case "lock":
    case "keeper":
      return { kind };
    case "lease":
    case "binds": {
      const [lease] = rest;
      return lease === undefined ? undefined : { kind, berth, lease };
    }
    default:
      return undefined;
  }
}

function socketOf(whose: { berth?: string; socket: string }, rest: readonly string[]): StoredName | undefined {
  const [hash, inode = "", path] = rest;
  if (hash === undefined || !isNumber(inode)) return undefined;
  const socket = { kind: "socket", ...whose, hash, inode: BigInt(inode) } as const;
  if (path === undefined) return socket;
  if (path === "foreign") return { ...socket, path };
  return isNumber(path) ? { ...socket, path: BigInt(path) } : undefined;
}

function isNumber(text: string): boolean {
  return /^[0-9]{1,20}$/.test(text);
}

/** Short for what tells one socket from another: an address has characters that a descriptor's name may not have. */
export function keyHash(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 10);
}
