/**
 * Whether an upper folder is part of a living overlay, whoever made it and whoever still has it. Two overlays on one
 * upper folder destroy each other's files, and without index=on the kernel lets it happen ("undefined behavior",
 * Documentation/filesystems/overlayfs.rst); with index=on it refuses, but then a berth could not change its image.
 * So the kernel is asked: as lower layer of an overlay with index=on, such a folder is EBUSY. What is made for asking
 * is empty, in memory, and gone at once.
 */
import { SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import { closeUpper, mountOverlay } from "./overlay.ts";
import { volatileUpper } from "./upper.ts";

const OWNER = { uid: 0, gid: 0, mode: 0o700 };
const SIZE = 65_536;

/** Asks the kernel. False also where it cannot be asked: it then cannot mount by descriptor either. */
export function isUpperInUse(folder: FdHandle, sys: Native): boolean {
  const own = volatileUpper(SIZE, OWNER, sys);
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
