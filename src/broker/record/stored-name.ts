/**
 * The names of descriptors in the service manager's store: KIND.REST. REST says what the descriptor belongs to, and has
 * a slash, which no socket name has. A reader needs nothing but the name to restore the descriptor. Pure.
 */
import { createHash } from "node:crypto";

/** A held socket. The inodes identify the socket, and its path if it has one. */
export interface StoredSocket {
  /** Absent for a socket of the broker itself: `control`, `notify`, `notify-name` or `agent`. */
  readonly berth?: string;
  readonly socket: string;
  /** {@link keyHash} of everything that cannot change after bind. */
  readonly hash: string;
  /** Inode of the socket itself. */
  readonly inode: bigint;
  /**
   * Inode of the path of a UNIX socket; "foreign" when a .socket unit created the path: then the broker never removes
   * it.
   */
  readonly path?: bigint | "foreign";
}

/** A stashed descriptor, or one that wraps it. `serial` tells two of one name apart. */
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

/** A berth's root: its mount, and a memfd with its facts. */
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
  | { readonly kind: "fallback" };

/**
 * Only in a takeover, never in a store: a pidfd of the broker itself, a locked file, and the channel to its bind
 * fallback ("keeper" is its name on the wire).
 */
export const BROKER_NAME = "process.broker/pidfd";
export const LOCK_NAME = "lock.broker/file";
export const FALLBACK_NAME = "keeper.broker/channel";

/** Sockets of the broker itself. */
const OWN = ["control.socket", "notify.socket", "notify-name.socket", "agent.socket"];

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

/** Parses a name; undefined for other names, such as those of .socket units. */
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
      return { kind };
    case "keeper":
      return { kind: "fallback" };
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

/** A short hash of a socket's key: an address has characters that a descriptor name must not have. */
export function keyHash(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 10);
}
