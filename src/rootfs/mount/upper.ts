/**
 * Where goes what a tenant writes: a folder on disk that outlives the lease, or a tmpfs that ends with it. The folder
 * becomes the root of the overlay, so it has the owner and mode of the image's. It never looks at what is in it.
 */
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, type Native } from "../../native.ts";
import { system } from "../disk/durable.ts";
import type { Range } from "../ranges/range.ts";
import { FsContext } from "./fs-context.ts";
import { openFolder, pathOf, type Upper } from "./overlay.ts";

/** What the root of an overlay is to look like. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits, setgid and sticky included. */
  readonly mode: number;
}

/** Owner and mode of a folder, with the ids that the range has for those on disk. */
export function ownerOf(tree: string, range: Range | undefined): Owner {
  const { uid, gid, mode } = system(tree, () => statSync(tree));
  const shifted = (id: number): number => (range === undefined ? id : range.base + (id < range.count ? id : 0));
  return { uid: shifted(uid), gid: shifted(gid), mode: mode & 0o7777 };
}

/**
 * The folder's `upper` and `work`, made if they are missing. Throws STATE_DAMAGED when what is there has ids of
 * another range: nobody inside could touch it, and nobody outside should.
 */
export function persistentUpper(folder: string, owner: Owner, range: Range | undefined, sys: Native): Upper {
  const path = join(folder, "upper");
  const work = join(folder, "work");
  const found = system(path, () => statSync(path, { throwIfNoEntry: false }));
  if (found === undefined) {
    // Under its name only when it is complete: a crash leaves no folder of the wrong owner behind.
    const next = `${path}.new`;
    system(next, () => {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      rmSync(next, { recursive: true, force: true });
      makeFolder(next, owner);
      renameSync(next, path);
    });
  } else if (range !== undefined && !(found.uid >= range.base && found.uid < range.base + range.count)) {
    throw new BerthError(
      "STATE_DAMAGED",
      `${path} belongs to id ${found.uid}, not to one of the range from ${range.base}; move ${folder} away, or give it the range's ids`,
    );
  }
  const isThere = system(work, () => statSync(work, { throwIfNoEntry: false })) !== undefined;
  if (!isThere) system(work, () => mkdirSync(work, { mode: 0o700 }));
  return openBoth(path, work, sys);
}

/** A new tmpfs of at most `size` bytes (absent: the kernel's default, half of the memory). */
export function volatileUpper(size: number | undefined, owner: Owner, sys: Native): Upper {
  using context = new FsContext("tmpfs", sys);
  context.set("mode", "0700");
  if (size !== undefined) context.set("size", size);
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

/** chown(2) clears bits that chmod(2) sets, so it goes first. */
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
