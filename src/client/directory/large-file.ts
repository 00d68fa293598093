/**
 * Closes files on pool threads. The last close of a removed file waits until the kernel has freed it. A few hundred
 * megabytes in many pieces took 18 seconds, and the file's owner chooses the pieces.
 */
import { close, constants as files, fstatSync, ftruncate } from "node:fs";
import { promisify } from "node:util";
import { SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { openBeneath } from "./beneath.ts";

const closeFd = promisify(close);
const truncateFd = promisify(ftruncate);

/** A file with at most this many bytes on disk is freed at once. */
const SMALL = 65_536;

/** Keeps a large file open while a name of it is removed. Give the result to {@link letGo} afterwards. */
export function holdIfLarge(sys: Native, directory: FdHandle, name: Uint8Array): FdHandle | undefined {
  let file: FdHandle;
  try {
    file = openBeneath(sys, directory, name, O_PATH | files.O_NOFOLLOW);
  } catch (error) {
    // If something is wrong with the name, the removal itself reports it.
    if (error instanceof SysError) return undefined;
    throw error;
  }
  const stat = fstatSync(file.fd);
  if (stat.isFile() && stat.blocks * 512 > SMALL) return file;
  file.close();
  return undefined;
}

/** Closes it on a pool thread. */
export async function letGo(file: FdHandle | undefined): Promise<void> {
  if (file?.open) await closeFd(file.steal());
}

/** Empties an open regular file on a pool thread. */
export async function empty(file: FdHandle): Promise<void> {
  const stat = fstatSync(file.fd);
  if (stat.isFile() && stat.size > 0) await truncateFd(file.fd, 0);
}
