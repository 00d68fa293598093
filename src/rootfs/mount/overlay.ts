/**
 * overlayfs by descriptors: layers in, a detached mount out. It chooses nothing: what lies where, with whose ids and
 * with which options is its caller's.
 */
import { check } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import { AT_FDCWD, type Native } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import { FsContext } from "./fs-context.ts";

/** Where changes go. Both folders are on one mount, and of nobody else's use while the overlay lives. */
export interface Upper {
  readonly upper: FdHandle;
  readonly work: FdHandle;
  /** The detached mount they are on, which goes with this handle unless the overlay has been made. */
  readonly mount?: FdHandle;
}

export interface OverlayLayers {
  /** From the top down; two at least where there is no upper. Borrowed. */
  readonly lowers: readonly FdHandle[];
  readonly upper?: Upper;
}

/** Options of an overlay by name; "" for one without a value. */
export type OverlayOptions = Readonly<Record<string, string>>;

/**
 * Renames of an image's folders are recorded and work (redirect_dir); a file is copied up whole (metacopy), so that it
 * stays what it is when the image becomes another; index=on would forbid that the image becomes another.
 */
export const PLAIN: OverlayOptions = { redirect_dir: "on", metacopy: "off", index: "off" };

/** Owner and mode are copied up without the contents, which stay where they are below. */
export const METACOPY: OverlayOptions = { ...PLAIN, metacopy: "on" };

/** The path of something that is open, good for this process alone. */
export function pathOf(handle: FdHandle): string {
  return `/proc/self/fd/${handle.fd}`;
}

/** Opens a folder as a layer: as a place, not for reading (open(2), O_PATH). */
export function openFolder(path: string, sys: Native): FdHandle {
  return FdHandle.adopt(check("open_tree", sys.openTree(AT_FDCWD, path, 0), path), sys);
}

export function closeUpper({ upper, work, mount }: Upper): void {
  closeAll([upper, work]);
  if (mount !== undefined) void closeLater(mount);
}

/** Mounts the layers. `attributes` are MOUNT_ATTR_… bits. Throws SYSTEM_ERROR with what the kernel says. */
export function mountOverlay(
  layers: OverlayLayers,
  options: OverlayOptions,
  attributes: number,
  sys: Native,
): FdHandle {
  using context = new FsContext("overlay", sys);
  for (const [name, value] of Object.entries(options)) context.set(name, value === "" ? undefined : value);
  setLayers(context, layers);
  return context.mount(attributes);
}

/** Layers by descriptor came with Linux 6.13; before, a path that leads to the descriptor says the same. */
function setLayers(context: FsContext, { lowers, upper }: OverlayLayers): void {
  const [top, ...below] = lowers;
  const byFd = top !== undefined && context.trySetFd("lowerdir+", top.fd);
  const set = (key: string, handle: FdHandle): void => {
    if (!byFd || !context.trySetFd(key, handle.fd)) context.set(key, pathOf(handle));
  };
  if (byFd) for (const lower of below) set("lowerdir+", lower);
  else context.set("lowerdir", lowers.map(pathOf).join(":"));
  if (upper === undefined) return;
  set("upperdir", upper.upper);
  set("workdir", upper.work);
}
