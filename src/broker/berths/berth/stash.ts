/**
 * Descriptors that a tenant leaves in its berth for its successor: player connections, a memfd of state. Only kinds
 * that are safe to keep are accepted (hazard 15; test/broker/berths/stash.test.ts).
 */
import { readFileSync, readlinkSync } from "node:fs";
import { FdHandle } from "../../../fd.ts";
import type { Native } from "../../../native.ts";
import { AF_UNIX } from "../../../net/address.ts";
import {
  O_PATH,
  POLLERR,
  POLLHUP,
  POLLIN,
  SO_ACCEPTCONN,
  SO_DOMAIN,
  SOL_SOCKET,
} from "../../../net/socket-constants.ts";
import { isConnected, socketOption } from "../../../net/socket-queries.ts";
import type { ForeignCalls } from "../../access/foreign-calls.ts";
import type { Kept } from "../../guard/keeper.ts";
import type { StoredCopy } from "../../record/stored-copy.ts";
import { type FileFacts, type Mount, parseMounts, whyNotKept } from "./stash-file.ts";

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
  /** Its copy in the keeper. */
  kept?: Kept;
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
export function isSameOpenFile(one: FdHandle, other: FdHandle, sys: ForeignCalls): boolean {
  const order = sys.kcmp(one.fd, other.fd);
  if (order >= 0) return order === 0;
  const file = fileOf(one.fd, sys);
  return file !== undefined && file === fileOf(other.fd, sys);
}

/**
 * Identifies the socket, pipe, file or memfd: equal for all its descriptors. Undefined if its file system does not
 * tell.
 */
export function fileOf(fd: number, sys: Pick<ForeignCalls, "statNow">): string | undefined {
  const file = look(fd, sys);
  return file && `${file.device}:${file.inode}`;
}

/** Why a descriptor cannot be stashed, as a sentence; undefined when it can. Nothing here can wait. */
export function unsuitable(fd: number, sys: Native): string | undefined {
  const why = unkeepable(fd, sys);
  if (why !== undefined || look(fd, sys)?.type !== S_IFIFO) return why;
  const events = sys.pollNow(fd, POLLIN);
  const widowed = events >= 0 && (events & (POLLHUP | POLLERR)) !== 0;
  return widowed ? "the other end of the pipe is closed" : undefined;
}

/** As {@link unsuitable}, for one that was stashed before: what is in a pipe is kept when its other end has closed. */
export function unkeepable(fd: number, sys: Native): string | undefined {
  const flags = sys.getfl(fd);
  if (flags < 0 || (flags & O_PATH) !== 0) return "an O_PATH descriptor names a file without opening it";
  const file = look(fd, sys);
  if (file === undefined) return "its file system does not tell its type";
  if (file.type === S_IFREG || file.type === S_IFIFO) return whyNotKept(factsOf(fd, file, sys), mounts());
  if (file.type !== S_IFSOCK) return "only sockets, pipes, files and memfds can be stashed";
  return socketOption(fd, SOL_SOCKET, SO_DOMAIN, sys) === AF_UNIX ? unkeepableUnix(fd, sys) : undefined;
}

function unkeepableUnix(fd: number, sys: Native): string | undefined {
  const isListening = socketOption(fd, SOL_SOCKET, SO_ACCEPTCONN, sys) === 1;
  // If the broker held one end of a connection to itself or its tenant, the connection would never close.
  if (isConnected(fd, sys) && !isListening) return "a connected UNIX socket would be kept open by its own other end";
  // A bound socket keeps the mount of its path alive. A broker without root cannot ask for it.
  const bound = sys.unixFile(fd);
  if (bound < 0) return undefined;
  using path = FdHandle.adopt(bound, sys);
  const file = look(path.fd, sys);
  const why = file && whyNotKept(factsOf(path.fd, file, sys), mounts());
  return why === undefined ? undefined : "its path is in a berth's root, or in a file system that would be kept busy";
}

const S_IFMT = 0o170000;
const S_IFIFO = 0o010000;
const S_IFREG = 0o100000;
const S_IFSOCK = 0o140000;

interface OpenFile {
  readonly type: number;
  /** Major and minor number. */
  readonly device: string;
  readonly inode: string;
}

/** Undefined where we may not look. */
function look(fd: number, sys: Pick<ForeignCalls, "statNow">): OpenFile | undefined {
  const stat = new Uint32Array(5);
  if (sys.statNow(fd, stat) < 0) return undefined;
  const [mode = 0, major, minor, low, high] = stat;
  return { type: mode & S_IFMT, device: `${major}:${minor}`, inode: `${high}:${low}` };
}

function mounts(): Mount[] {
  return parseMounts(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** The names and numbers that the kernel has of an open file (proc(5)). */
function factsOf(fd: number, { device }: OpenFile, sys: ForeignCalls): FileFacts {
  const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
  return {
    device,
    mountId: mount === undefined ? undefined : Number(mount),
    isPipe: readlinkSync(`/proc/self/fd/${fd}`).startsWith("pipe:["),
    isMemory: sys.getSeals(fd) >= 0,
  };
}
