/**
 * Shows a tree with other owners than on disk, through a detached, idmapped mount (mount_setattr(2)). The kernel maps
 * the ids of a file when it looks at that file. So the time does not depend on the size of the tree, and nothing on
 * disk changes.
 */
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { AT_FDCWD, MOUNT_ATTR_IDMAP, type Native, OPEN_TREE_CLONE } from "../../native.ts";
import type { Range } from "../ranges/range.ts";
import { makeUserNamespace } from "./user-namespace.ts";

/** A user namespace with the ids of a range. Only its id maps are used. Throws SYSTEM_ERROR. */
export function rangeNamespace(range: Range, sys: Native): FdHandle {
  return makeUserNamespace(range, process.geteuid?.() ?? 0, sys);
}

/**
 * A detached mount of the folder, without the mounts inside it. Its files have the ids that `namespace` maps.
 * Throws SYSTEM_ERROR: EINVAL when the file system does not support idmapped mounts.
 */
export function idmapTree(path: string, namespace: FdHandle, sys: Native): FdHandle {
  const tree = FdHandle.adopt(check("open_tree", sys.openTree(AT_FDCWD, path, OPEN_TREE_CLONE), path), sys);
  try {
    check("mount_setattr", sys.mountSetattr(tree.fd, MOUNT_ATTR_IDMAP, namespace.fd), path);
    return tree;
  } catch (error) {
    tree.close();
    throw error;
  }
}
