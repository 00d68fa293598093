/**
 * Looks at what tar(1) has extracted, before a berth gets it. An archive can come from anywhere, so it may be made to
 * do harm. It changes no file.
 */
import { constants, lstatSync } from "node:fs";
import { join } from "node:path";
import { native } from "../../native.ts";
import { filesOf, kindOf, type OpenTree, openTree } from "../../rootfs/disk/open-tree.ts";
import { type Pause, pauseFor } from "../../rootfs/disk/pause.ts";
import { findDevices } from "../../rootfs/images/devices.ts";

/** The folder of a berth's state that has what its servers wrote. Archives have it, too. */
export const UPPER = "upper";

/** Why the folder `upper` in `folder` must not become a berth's. Undefined if it may. */
export async function problemOfExtracted(folder: string, signal: AbortSignal): Promise<string | undefined> {
  const upper = join(folder, UPPER);
  // A later member of the archive may have put a link there.
  if (!lstatSync(upper, { throwIfNoEntry: false })?.isDirectory()) return `${UPPER} in it is no folder`;
  using tree = openTree(upper, native);
  const pause = pauseFor(signal);
  const [device] = await findDevices(tree, native, pause);
  // A server could open it, also where its root is mounted with nodev: rootfs/images/devices.ts.
  if (device !== undefined) return `it has a device node, ${device.kind} ${device.number} ${device.path}`;
  const shared = await sharedFile(tree, pause);
  return shared === undefined ? undefined : `${shared} in it is the same file as one outside of ${UPPER}`;
}

/** A file that has another name outside of the tree: its owner changes with that of the tree. */
async function sharedFile(tree: OpenTree, pause: Pause): Promise<string | undefined> {
  const missing = new Map<bigint, { readonly path: string; names: bigint }>();
  for await (const { path, stat } of filesOf(tree, native, pause)) {
    if (kindOf(stat) === constants.S_IFDIR || stat.nlink === 1n) continue;
    const known = missing.get(stat.ino) ?? { path: path.toString("latin1"), names: stat.nlink };
    known.names -= 1n;
    if (known.names === 0n) missing.delete(stat.ino);
    else missing.set(stat.ino, known);
  }
  const [first] = missing.values();
  return first?.path;
}
