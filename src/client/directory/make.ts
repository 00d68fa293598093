/** Makes directories beneath a directory. */
import { constants as files } from "node:fs";
import { constants } from "node:os";
import { check, SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { openBeneath, openEntry } from "./beneath.ts";
import { type BeneathPath, prefixes, shown } from "./path.ts";

const { EEXIST } = constants.errno;

const DIRECTORY = O_PATH | files.O_DIRECTORY;

/** Makes one directory. With `mayExist`, one that is there already is fine. */
export function makeDirectory(sys: Native, root: FdHandle, path: BeneathPath, mode: number, mayExist = false): void {
  using entry = openEntry(sys, root, path);
  const result = sys.mkdirat(entry.directory.fd, entry.name, mode);
  if (!mayExist || result !== -EEXIST) check("mkdirat", result, shown(path));
}

/** Makes a directory and its parents, unless they are there. */
export function makeDirectories(sys: Native, root: FdHandle, path: BeneathPath, mode: number): void {
  if (isDirectory(sys, root, path)) return;
  for (const prefix of prefixes(path)) makeDirectory(sys, root, prefix, mode, true);
  openBeneath(sys, root, path, DIRECTORY).close();
}

/** Returns false if the path does not exist. Throws if it is not a directory or cannot be opened. */
function isDirectory(sys: Native, root: FdHandle, path: BeneathPath): boolean {
  try {
    openBeneath(sys, root, path, DIRECTORY).close();
    return true;
  } catch (error) {
    if (error instanceof SysError && error.errnoName === "ENOENT") return false;
    throw error;
  }
}
