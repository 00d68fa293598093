/**
 * The path of a UNIX socket: its mode and owner, and whether it is still ours. Another user may own the folder and
 * replace the path with a link at any time. So the inode is opened first, and nothing is changed by name
 * (test/broker/sockets/unix-path.test.ts).
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  fchmodSync,
  constants as files,
  fstatSync,
  lstatSync,
  openSync,
  unlinkSync,
} from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import { BerthError, check, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { makeFolders } from "../../make-folders.ts";
import type { Native } from "../../native.ts";
import { type Address, AF_UNIX, encodeSockaddr, formatAddress, pathOf } from "../../net/address.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { type SocketKind, typeNumber } from "../../net/transport.ts";
import type { StoredSocket } from "../record/stored-name.ts";

const { EADDRINUSE, ECONNREFUSED } = constants.errno;

/**
 * Makes the folder, and removes a socket that no program listens on. Throws if a program does, or if it is another
 * file.
 */
export function prepareUnixPath(path: string, kind: SocketKind, sys: Native): void {
  makeFolders(dirname(path), 0o755);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new BerthError(
      "SYSTEM_ERROR",
      `cannot bind ${path}: a file that is not a socket has that name; move it away`,
    );
  }
  using probe = FdHandle.adopt(check("socket", sys.socket(AF_UNIX, typeNumber(kind), 0)), sys);
  const address = { family: "unix", path, abstract: false } as const;
  if (sys.connect(probe.fd, encodeSockaddr(address)) === -ECONNREFUSED) unlinkSync(path);
  else throw new SysError("bind", EADDRINUSE, formatAddress(address));
}

/**
 * Sets the mode and owner of the path, and returns its inode. The path must be the socket with this inode or, without
 * `inode`, a socket of our own user that was just bound. Otherwise throws SYSTEM_ERROR.
 */
export function setPathAccess(path: string, options: SocketOptions, inode?: bigint): bigint {
  const pin = openSync(path, O_PATH | files.O_NOFOLLOW);
  try {
    const stat = fstatSync(pin, { bigint: true });
    // An inode's number is soon reused, so the number alone proves nothing.
    const isOurs =
      stat.isSocket() && (inode === undefined ? Number(stat.uid) === process.geteuid?.() : stat.ino === inode);
    if (!isOurs)
      throw new BerthError(
        "SYSTEM_ERROR",
        `cannot bind ${path}: another process replaced it; let only the broker's user write to its folder`,
      );
    // By descriptor: chmod(2) and chown(2) by path would follow a replaced path.
    const pinned = `/proc/self/fd/${pin}`;
    if (options.owner !== undefined || options.group !== undefined) {
      chownSync(pinned, options.owner ?? Number(stat.uid), options.group ?? Number(stat.gid));
    }
    chmodSync(pinned, options.mode);
    return stat.ino;
  } finally {
    closeSync(pin);
  }
}

/** Whether the path is still the socket of that inode. */
export function isInode(path: string, inode: bigint | undefined): boolean {
  try {
    const stat = lstatSync(path, { bigint: true });
    return stat.isSocket() && stat.ino === inode;
  } catch {
    return false; // the path or its folder is gone
  }
}

/** The inode of whatever has that name. */
function inodeAt(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** Removes the path if it is still the socket of that inode. */
export function removeUnixPath(path: string, inode: bigint | undefined): void {
  if (!isInode(path, inode)) return;
  try {
    unlinkSync(path);
  } catch {
    // It was removed just now, or we may not change the folder. A stale socket does no harm.
  }
}

type StoredPath = StoredSocket["path"];

/** The path of one held UNIX socket. For an address without a path it does nothing. */
export class OwnPath {
  readonly #path: string | undefined;
  /** So that only our own path is removed. */
  #inode: bigint | undefined;
  /** A .socket unit bound it: then the path belongs to the unit, which says who may use it. */
  #isForeign = false;

  constructor(address: Address) {
    this.#path = pathOf(address);
  }

  /** What a store records of it. */
  get stored(): StoredPath {
    return this.#isForeign ? "foreign" : this.#inode;
  }

  /** The socket was passed. A stored one's inode is recorded; a unit's is trusted. */
  adopt(stored: Pick<StoredSocket, "path"> | undefined): void {
    this.#isForeign = stored === undefined || stored.path === "foreign";
    if (this.#path !== undefined) this.#inode = typeof stored?.path === "bigint" ? stored.path : inodeAt(this.#path);
  }

  /** Whether clients can still reach the socket. */
  get isReachable(): boolean {
    return this.#path === undefined || isInode(this.#path, this.#inode);
  }

  /** Before bind(2). Throws as {@link prepareUnixPath}. */
  prepare(fd: number, kind: SocketKind, sys: Native): void {
    if (this.#path === undefined) return;
    prepareUnixPath(this.#path, kind, sys);
    // The path inherits the socket's permission bits. Nobody else may connect before its owner is set.
    fchmodSync(fd, 0o600);
  }

  /** Our own user has just bound it. Throws as {@link setPathAccess}. */
  bound(options: SocketOptions): void {
    if (this.#path !== undefined) this.#inode = setPathAccess(this.#path, options);
  }

  /** Throws as {@link setPathAccess}. */
  setAccess(options: SocketOptions): void {
    if (this.#path !== undefined && !this.#isForeign) setPathAccess(this.#path, options, this.#inode);
  }

  /** Removes it, if it is still the socket's. */
  remove(): void {
    if (this.#path !== undefined && !this.#isForeign) removeUnixPath(this.#path, this.#inode);
  }

  /** Another socket of ours takes the place of the one that may have been a unit's. */
  renew(): void {
    this.#isForeign = false;
  }
}
