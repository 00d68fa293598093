/** Gives files to a berth's range, and puts them in the place of those that its servers wrote. It unpacks nothing. */
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { check } from "../../errors.ts";
import { programPath } from "../../launcher-path.ts";
import { AT_FDCWD, native } from "../../native.ts";
import { moveDurably, syncFolder } from "../../rootfs/disk/durable.ts";
import { runCommand } from "../../rootfs/images/run-command.ts";
import type { Range } from "../../rootfs/ranges/range.ts";
import { Ranges } from "../../rootfs/ranges/ranges.ts";

/** The range that is reserved for a berth. Undefined before its first lease. */
export function rangeOf(state: string, name: string): Range | undefined {
  using ranges = Ranges.open(join(state, "ranges"));
  return ranges.list().find(({ owner }) => owner === name);
}

/** Moves all owners into the range: whatever is in the archive, no file of it is another berth's or the host's. */
export async function giveTo({ base, count }: Range, upper: string, signal: AbortSignal): Promise<void> {
  const shift = [programPath("shift-own"), "--shift", String(base), "--range", String(count), upper] as const;
  await runCommand(shift, { signal, failure: "SYSTEM_ERROR" });
}

/**
 * Puts `next` where `upper` is. With `keep` the old folder gets a name beside it, which is the result. Otherwise it is
 * in `scratch` afterwards, and the result is null. Where the file system can exchange two folders in one step, there is
 * a folder `upper` at every moment, also if the process is killed.
 */
export function exchange(upper: string, next: string, scratch: string, keep: boolean): string | null {
  if (!existsSync(upper)) {
    moveDurably(next, upper);
    return null;
  }
  const old = keep ? `${upper}.${new Date().toISOString().replace(/[-:]|\.\d+/g, "")}` : join(scratch, "before");
  moveDurably(next, old);
  if (!swap(old, upper)) oneAfterTheOther(upper, old, next);
  return keep ? old : null;
}

/** The new folder is at `old`. `spare` is a free path. */
function oneAfterTheOther(upper: string, old: string, spare: string): void {
  moveDurably(old, spare);
  moveDurably(upper, old);
  try {
    moveDurably(spare, upper);
  } catch (error) {
    moveDurably(old, upper);
    throw error;
  }
}

const RENAME_EXCHANGE = 2; // renameat2(2)
const { EINVAL, ENOSYS } = constants.errno;

/** False on a file system that cannot do it, such as NFS. */
function swap(one: string, other: string): boolean {
  const result = native.renameat2(AT_FDCWD, Buffer.from(one), AT_FDCWD, Buffer.from(other), RENAME_EXCHANGE);
  if (result === -EINVAL || result === -ENOSYS) return false;
  check("renameat2", result, other);
  syncFolder(dirname(other));
  syncFolder(dirname(one));
  return true;
}
