/**
 * Looks at what tar(1) has extracted, before a berth gets it. An archive can come from anywhere, so it may be made to
 * do harm. It changes no file.
 */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { native } from "../../native.ts";
import { openTree } from "../../rootfs/disk/open-tree.ts";
import { pauseFor } from "../../rootfs/disk/pause.ts";
import { sharedFile } from "../../rootfs/disk/shared-file.ts";
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
  const shared = await sharedFile(tree, native, pause);
  return shared === undefined ? undefined : `${shared} in it is the same file as one outside of ${UPPER}`;
}
