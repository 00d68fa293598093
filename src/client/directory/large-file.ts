/**
 * Closes files off the event loop. The last close of a removed file waits while the kernel frees it: for a
 * few hundred megabytes in many pieces that took 18 seconds when measured, and the owner of the file chooses the
 * pieces.
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

/** What is on at most so many bytes of disk is freed at once. */
const SMALL = 65_536;

/** Keeps a large file alive while a name of it is taken away; give the result to {@link letGo} afterwards. */
export function holdIfLarge(sys: Native, directory: FdHandle, name: Uint8Array): FdHandle | undefined {
  let file: FdHandle;
  try {
    file = openBeneath(sys, directory, name, O_PATH | files.O_NOFOLLOW);
  } catch (error) {
    // Whatever is wrong with that name, the call that it is held for says so.
    if (error instanceof SysError) return undefined;
    throw error;
  }
  const stat = fstatSync(file.fd);
  if (stat.isFile() && stat.blocks * 512 > SMALL) return file;
  file.close();
  return undefined;
}

/** Closes it on a thread of the pool. */
export async function letGo(file: FdHandle | undefined): Promise<void> {
  if (file?.open) await closeFd(file.steal());
}

/** O_TRUNC of an open regular file, on a thread of the pool. */
export async function empty(file: FdHandle): Promise<void> {
  const stat = fstatSync(file.fd);
  if (stat.isFile() && stat.size > 0) await truncateFd(file.fd, 0);
}
