/**
 * Makes the upper folder, which takes what a tenant writes: on disk (persistent), or in a tmpfs that ends with the
 * lease (volatile). The upper folder becomes the root of the overlay. So it has the owner and mode of the image's
 * folder. This module never reads the files in the folder.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { makeFolders } from "../../make-folders.ts";
import { MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, type Native } from "../../native.ts";
import { system } from "../disk/durable.ts";
import { pathOf } from "../disk/proc-path.ts";
import type { Range } from "../ranges/range.ts";
import { FsContext } from "./fs-context.ts";
import { openFolder, type Upper } from "./overlay.ts";
import { type TmpfsLimits, tmpfsOptions } from "./tmpfs-limits.ts";

/** The owner and mode of the root of an overlay. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits, with setuid, setgid and sticky. */
  readonly mode: number;
}

/** The owner and mode of a folder. The ids are shifted into the range. */
export function ownerOf(tree: string, range: Range | undefined): Owner {
  const { uid, gid, mode } = system(tree, () => statSync(tree));
  const shifted = (id: number): number => (range === undefined ? id : range.base + (id < range.count ? id : 0));
  return { uid: shifted(uid), gid: shifted(gid), mode: mode & 0o7777 };
}

/**
 * Opens `upper` and `work` in the folder, and makes them if they are missing. Throws STATE_DAMAGED when `upper` belongs
 * to another range: the server could not write there, and the files may be another berth's.
 */
export function persistentUpper(folder: string, owner: Owner, range: Range | undefined, sys: Native): Upper {
  const path = join(folder, "upper");
  const work = join(folder, "work");
  const found = system(path, () => lstatSync(path, { throwIfNoEntry: false }));
  if (found === undefined) {
    // rename(2) when the folder is complete: a crash leaves no upper folder with the wrong owner.
    const next = `${path}.new`;
    system(next, () => {
      makeFolders(folder, 0o700);
      rmSync(next, { recursive: true, force: true });
      makeFolder(next, owner);
      renameSync(next, path);
    });
  } else if (!found.isDirectory()) {
    throw new BerthError(
      "STATE_DAMAGED",
      `${path} is no folder; start with an empty one: \`mv ${folder} ${folder}.old\``,
    );
  } else if (range !== undefined && !(found.uid >= range.base && found.uid < range.base + range.count)) {
    throw new BerthError(
      "STATE_DAMAGED",
      `${path} belongs to id ${found.uid}, not to an id of the berth's range (${range.base}–${range.base + range.count - 1}); start with an empty folder: \`mv ${folder} ${folder}.old\`, or change the files' owners to ids of the range`,
    );
  }
  const isThere = system(work, () => statSync(work, { throwIfNoEntry: false })) !== undefined;
  if (!isThere) system(work, () => mkdirSync(work, { mode: 0o700 }));
  return openBoth(path, work, sys);
}

/** Makes a tmpfs with these limits. */
export function volatileUpper(limits: TmpfsLimits, owner: Owner, sys: Native): Upper {
  using context = new FsContext("tmpfs", sys);
  context.set("mode", "0700");
  for (const [key, value] of Object.entries(tmpfsOptions(limits))) context.set(key, value);
  const mount = context.mount(MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
  try {
    const upper = join(pathOf(mount), "upper");
    const work = join(pathOf(mount), "work");
    system(upper, () => {
      makeFolder(upper, owner);
      mkdirSync(work, 0o700);
    });
    return { ...openBoth(upper, work, sys), mount };
  } catch (error) {
    mount.close();
    throw error;
  }
}

/** chown(2) comes before chmod(2), because it clears setuid and setgid bits. */
function makeFolder(path: string, { uid, gid, mode }: Owner): void {
  mkdirSync(path, 0o700);
  chownSync(path, uid, gid);
  chmodSync(path, mode);
}

function openBoth(upper: string, work: string, sys: Native): Upper {
  const first = openFolder(upper, sys);
  try {
    return { upper: first, work: openFolder(work, sys) };
  } catch (error) {
    first.close();
    throw error;
  }
}
