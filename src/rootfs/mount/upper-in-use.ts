/**
 * Finds out whether any process's overlay uses an upper folder. Two overlays on one upper folder destroy each other's
 * files ("undefined behavior", Documentation/filesystems/overlayfs.rst). The kernel prevents that only with index=on,
 * but then a berth could not change its image. So this module makes another overlay as a test: it has index=on, and the
 * folder as its lower layer. The kernel fails it with EBUSY when the folder is in use. The test overlay is empty, in
 * memory, and closed at once.
 */
import { SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import { closeUpper, mountOverlay } from "./overlay.ts";
import { volatileUpper } from "./upper.ts";

const OWNER = { uid: 0, gid: 0, mode: 0o700 };
const TEST_TMPFS_BYTES = 65_536;

/** Whether an overlay uses the folder. False on a kernel that cannot tell: it cannot mount by descriptor either. */
export function isUpperInUse(folder: FdHandle, sys: Native): boolean {
  const own = volatileUpper({ size: TEST_TMPFS_BYTES }, OWNER, sys);
  try {
    void closeLater(mountOverlay({ lowers: [folder], upper: own }, { index: "on" }, 0, sys));
    return false;
  } catch (error) {
    if (error instanceof SysError && error.errnoName === "EBUSY") return true;
    if (error instanceof SysError && error.errnoName === "EINVAL") return false;
    throw error;
  } finally {
    closeUpper(own);
  }
}
