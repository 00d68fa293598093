/**
 * A tree whose files belong to other ids than on disk: a detached, idmapped mount (mount_setattr(2)). The kernel maps
 * as it looks at a file, so it takes as long for one file as for a million, and nothing on disk changes.
 */
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { AT_FDCWD, MOUNT_ATTR_IDMAP, type Native, OPEN_TREE_CLONE } from "../../native.ts";
import type { Range } from "../ranges/range.ts";

/** A user namespace with the ids of a range; only its maps matter. Throws SYSTEM_ERROR. */
export function rangeNamespace({ base, count }: Range, sys: Native): FdHandle {
  return FdHandle.adopt(check("user namespace", sys.userns(base, count, process.geteuid?.() ?? 0)), sys);
}

/**
 * A detached mount of the folder alone, without what is mounted in it, with the ids of `namespace` for those on disk.
 * Throws SYSTEM_ERROR: EINVAL where the file system cannot do it.
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
