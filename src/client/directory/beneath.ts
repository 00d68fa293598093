/**
 * Opens files beneath a directory. openat2(2) resolves the whole path with the directory as its root. So `..`, absolute
 * links and links of /proc cannot lead out of it, even during renames (hazard 31;
 * test/client/directory-attack.test.ts). Calls that create, rename or remove use a parent that was opened this way.
 */
import { constants as files } from "node:fs";
import { constants } from "node:os";
import { BerthError, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "../../file-constants.ts";
import { AT_FDCWD, type Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { type BeneathPath, pathBytes, shown, splitPath } from "./path.ts";

const { EAGAIN, ENOSYS } = constants.errno;

const IN_ROOT: number = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/** open(2): O_TMPFILE without the O_DIRECTORY in it. */
const TMPFILE = 0o20000000;

/**
 * How often to try a path while openat2 says EAGAIN. It does so at a `..` if anything on the machine was renamed
 * meanwhile, because it cannot be sure where `..` leads. Under constant renames, paths with ten `..` took two tries;
 * only one with hundreds took more than this.
 */
export const ATTEMPTS = 64;

/** A name in an open directory, for calls that take both. */
export class Entry implements Disposable {
  readonly directory: FdHandle;
  readonly name: Uint8Array;

  constructor(directory: FdHandle, name: Uint8Array) {
    this.directory = directory;
    this.name = name;
  }

  [Symbol.dispose](): void {
    this.directory.close();
  }
}

/**
 * Opens a path beneath `root`, any directory descriptor, also an O_PATH one. It never waits for the other end of a FIFO
 * or for a file's lease (O_NONBLOCK), and takes no controlling terminal (O_NOCTTY).
 */
export function openBeneath(
  sys: Native,
  root: FdHandle,
  path: BeneathPath,
  flags: number,
  mode = 0,
  resolve: number = IN_ROOT,
): FdHandle {
  // openat2 rejects flags that it would ignore: O_NONBLOCK with O_PATH, and a mode without O_CREAT.
  const all = (flags & O_PATH) !== 0 ? flags : flags | files.O_NONBLOCK | files.O_NOCTTY;
  const creates = (flags & (files.O_CREAT | TMPFILE)) !== 0;
  return openAt(sys, root.fd, path, all, creates ? mode : 0, resolve);
}

/** Opens a directory by a path of this process, which may lead anywhere. */
export function openDirectory(sys: Native, path: BeneathPath): FdHandle {
  return openAt(sys, AT_FDCWD, path, O_PATH | files.O_DIRECTORY, 0, 0);
}

function openAt(
  sys: Native,
  directory: number,
  path: BeneathPath,
  flags: number,
  mode: number,
  resolve: number,
): FdHandle {
  const bytes = pathBytes(path);
  let result = -EAGAIN;
  for (let attempt = 0; attempt < ATTEMPTS && result === -EAGAIN; attempt++) {
    result = sys.openat2(directory, bytes, flags, mode, resolve);
  }
  if (result >= 0) return FdHandle.adopt(result, sys);
  if (result === -ENOSYS) throw openat2Missing(path);
  throw new SysError("openat2", -result, shown(path));
}

/** The open parent of a path, and its last name, which has not been looked up. */
export function openEntry(sys: Native, root: FdHandle, path: BeneathPath): Entry {
  const { parent, name } = splitPath(path);
  return new Entry(openBeneath(sys, root, parent, O_PATH | files.O_DIRECTORY), name);
}

function openat2Missing(path: BeneathPath): BerthError {
  return new BerthError(
    "SYSCALL_MISSING",
    `cannot open ${shown(path)}: openat2(2) fails with ENOSYS. Linux has had it since 5.6, so a seccomp filter of the ` +
      "container or service blocks it: allow openat2 there",
  );
}
