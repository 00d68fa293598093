/**
 * Mounts overlayfs by descriptors: it takes layers and returns a detached mount. The caller chooses the layers, the ids
 * and the options.
 */
import { check } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import { AT_FDCWD, type Native } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import { pathOf } from "../disk/proc-path.ts";
import { FsContext } from "./fs-context.ts";

/** The folders for changes. Both are on one mount. Nothing else may use them while the overlay exists. */
export interface Upper {
  readonly upper: FdHandle;
  readonly work: FdHandle;
  /** The detached mount of the two folders. Closing it frees the mount, unless an overlay uses it. */
  readonly mount?: FdHandle;
}

export interface OverlayLayers {
  /** From the top down. Borrowed. Without an upper folder there must be at least two. */
  readonly lowers: readonly FdHandle[];
  readonly upper?: Upper;
}

/** Options of an overlay by name. The value is "" for an option without a value. */
export type OverlayOptions = Readonly<Record<string, string>>;

/**
 * The options of most roots. redirect_dir=on: a server can rename a folder of the image. metacopy=off: a changed file
 * is copied up whole, so it stays the same when the berth gets another image. index=off: index=on would refuse another
 * image.
 */
export const PLAIN: OverlayOptions = { redirect_dir: "on", metacopy: "off", index: "off" };

/** With metacopy=on, a change of owner or mode copies only these up. The contents stay in the lower layer. */
export const METACOPY: OverlayOptions = { ...PLAIN, metacopy: "on" };

/** Opens a folder as a layer, with O_PATH: the descriptor names the folder and cannot read it (open(2)). */
export function openFolder(path: string, sys: Native): FdHandle {
  return FdHandle.adopt(check("open_tree", sys.openTree(AT_FDCWD, path, 0), path), sys);
}

export function closeUpper({ upper, work, mount }: Upper): void {
  closeAll([upper, work]);
  if (mount !== undefined) void closeLater(mount);
}

/** Mounts the layers. `attributes` are MOUNT_ATTR_… bits. Throws SYSTEM_ERROR with the kernel's message. */
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

/** Linux 6.13 and later take layers by descriptor. Earlier ones get a path to the descriptor. */
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
