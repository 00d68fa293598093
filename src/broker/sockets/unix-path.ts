/**
 * The path of a UNIX socket: who may connect, and whose it is. Its folder may belong to somebody who swaps the path for
 * a link at the worst moment, so nothing is changed by name: the inode is pinned first
 * (test/broker/sockets/unix-path.test.ts).
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants as files,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  unlinkSync,
} from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import { BerthError, check, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { AF_UNIX, encodeSockaddr, formatAddress } from "../../net/address.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { type SocketKind, typeNumber } from "../../net/transport.ts";

const { EADDRINUSE, ECONNREFUSED } = constants.errno;

/** Makes the folder, and removes a socket that a dead program left; a living one, or any other file, is an error. */
export function prepareUnixPath(path: string, kind: SocketKind, sys: Native): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
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
 * Gives the path its mode and owner, and returns its inode. `inode` is the one it must be, if that is known already;
 * else a socket of our own user that was bound this instant. Throws SYSTEM_ERROR when something else stands there.
 */
export function settleUnixPath(path: string, options: SocketOptions, inode?: bigint): bigint {
  const pin = openSync(path, O_PATH | files.O_NOFOLLOW);
  try {
    const stat = fstatSync(pin, { bigint: true });
    // An inode's number is soon another file's, so that alone says nothing.
    const isOurs =
      stat.isSocket() && (inode === undefined ? Number(stat.uid) === process.geteuid?.() : stat.ino === inode);
    if (!isOurs)
      throw new BerthError(
        "SYSTEM_ERROR",
        `cannot bind ${path}: another process replaced it; let only the broker's user write to its folder`,
      );
    // By the descriptor: chmod(2) and chown(2) of a path would follow what it has become since.
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
    return false; // the path is gone, or its folder is
  }
}

/** Removes the path if it is still the socket of that inode. */
export function removeUnixPath(path: string, inode: bigint | undefined): void {
  if (!isInode(path, inode)) return;
  try {
    unlinkSync(path);
  } catch {
    // Gone this instant, or its folder is no longer ours to change: a stale socket hinders nobody.
  }
}
