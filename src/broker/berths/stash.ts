/**
 * Descriptors that a tenant leaves in its berth for its successor: player connections, a memfd of state. Only kinds
 * that are safe to keep are accepted (hazard 15; test/broker/berths/stash.test.ts).
 */
import { type BigIntStats, fstatSync, readFileSync, readlinkSync } from "node:fs";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { AF_UNIX } from "../../net/address.ts";
import { O_PATH, POLLERR, POLLHUP, POLLIN, SO_ACCEPTCONN, SO_DOMAIN, SOL_SOCKET } from "../../net/socket-constants.ts";
import { isConnected, socketOption } from "../../net/socket-queries.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { type FileFacts, parseMounts, whyNotKept } from "./stash-file.ts";

/** A stashed descriptor. The berth holds it until a successor of its giver is ready. */
export interface Stashed {
  readonly name: string;
  readonly handle: FdHandle;
  /** The lease that left it. */
  readonly lease: string;
  /** The user who left it, and the account that is charged for it. */
  readonly uid: number;
  readonly account: number;
  /** Its copy in a store. */
  storedCopy?: StoredCopy;
}

/** The valid names of a stashed descriptor. */
export function isStashName(name: string): boolean {
  return /^[A-Za-z0-9_.-]{1,64}$/.test(name);
}

/**
 * With sd_notify(3) a server may keep several descriptors under one name. Here each needs its own name: this one is for
 * number `nth` of them.
 */
export function numberedName(name: string, nth: number): string {
  return nth === 0 ? name : `${name}~${nth}`;
}

/** The name under which its giver knows it. */
export function shownName(name: string): string {
  return name.replace(/~\d+$/, "");
}

/**
 * Whether two descriptors are the same open file. Two may have one inode and differ: a file that was opened twice, the
 * two ends of a pipe. A kernel without kcmp(2) has only the inode to compare.
 */
export function isSameOpenFile(one: FdHandle, other: FdHandle, sys: Native): boolean {
  const order = sys.kcmp(one.fd, other.fd);
  if (order >= 0) return order === 0;
  const file = fileOf(one.fd);
  return file !== undefined && file === fileOf(other.fd);
}

/**
 * Identifies the socket, pipe, file or memfd: equal for all its descriptors. Undefined if its file system does not
 * tell.
 */
export function fileOf(fd: number): string | undefined {
  const stat = statOf(fd);
  return stat && `${stat.dev}:${stat.ino}`;
}

/** Why a descriptor cannot be stashed, as a sentence; undefined when it can. */
export function unsuitable(fd: number, sys: Native): string | undefined {
  const flags = sys.getfl(fd);
  if (flags < 0 || (flags & O_PATH) !== 0) return "an O_PATH descriptor names a file without opening it";
  const stat = statOf(fd);
  if (stat === undefined) return "its file system does not tell its type";
  if (stat.isFile() || stat.isFIFO()) {
    const why = whyNotKept(factsOf(fd, stat, sys), parseMounts(readFileSync("/proc/self/mountinfo", "utf8")));
    if (why !== undefined || stat.isFile()) return why;
    const events = sys.pollNow(fd, POLLIN);
    const widowed = events >= 0 && (events & (POLLHUP | POLLERR)) !== 0;
    return widowed ? "the other end of the pipe is closed" : undefined;
  }
  if (!stat.isSocket()) return "only sockets, pipes, files and memfds can be stashed";
  if (socketOption(fd, SOL_SOCKET, SO_DOMAIN, sys) !== AF_UNIX) return undefined;
  const isListening = socketOption(fd, SOL_SOCKET, SO_ACCEPTCONN, sys) === 1;
  // If the broker held one end of a connection to itself or its tenant, the connection would never close.
  return isConnected(fd, sys) && !isListening
    ? "a connected UNIX socket would be kept open by its own other end"
    : undefined;
}

/** What cannot wait: the names and numbers that the kernel has of an open file (proc(5)). */
function factsOf(fd: number, { dev }: BigIntStats, sys: Native): FileFacts {
  const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
  return {
    device: `${major(dev)}:${minor(dev)}`,
    mountId: mount === undefined ? undefined : Number(mount),
    isPipe: readlinkSync(`/proc/self/fd/${fd}`).startsWith("pipe:["),
    isMemory: sys.getSeals(fd) >= 0,
  };
}

/** As gnu_dev_major(3) and gnu_dev_minor(3) take st_dev apart. */
function major(device: bigint): bigint {
  return ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
}

function minor(device: bigint): bigint {
  return (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
}

/** Undefined where we may not look: for example at a file of another user's FUSE mount (fuse(4), allow_other). */
function statOf(fd: number): BigIntStats | undefined {
  try {
    return fstatSync(fd, { bigint: true });
  } catch {
    return undefined;
  }
}
