/**
 * The path of a UNIX socket: its mode and owner, and whether it is still ours. Another user may own the folder and
 * replace the path with a link at any time. So the inode is opened first, and nothing is changed by name
 * (test/broker/sockets/unix-path.test.ts).
 */
import {
  chmodSync,
  chownSync,
  closeSync,
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

/** Whether clients can still reach the socket of that inode: an address without a path can always be reached. */
export function isReachable(address: Address, inode: bigint | undefined): boolean {
  const path = pathOf(address);
  return path === undefined || isInode(path, inode);
}

/** The inode of whatever has that name. */
export function inodeAt(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** As {@link removeUnixPath}, if the address has a path. */
export function removePathOf(address: Address, inode: bigint | undefined): void {
  const path = pathOf(address);
  if (path !== undefined) removeUnixPath(path, inode);
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
