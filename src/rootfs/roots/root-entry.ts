/**
 * Makes what a launcher needs to enter a root: a user namespace with the root's ids, and mounts that only the broker
 * can make. Everything is a descriptor and attached nowhere. The caller closes the descriptors. The launcher attaches
 * the mounts inside the root.
 */
import { BerthError, check } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import {
  AT_FDCWD,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  type Native,
  OPEN_TREE_CLONE,
} from "../../native.ts";
import { FsContext } from "../mount/fs-context.ts";
import { makeUserNamespace } from "../mount/user-namespace.ts";
import type { Root } from "./root.ts";

/** A file or folder of the host that is mounted inside the root. */
export interface EntryBind {
  readonly target: string;
  readonly source: string;
  readonly readOnly: boolean;
}

export interface RootEntry {
  readonly userns: FdHandle;
  /** Detached mounts, each with its path inside the root. */
  readonly mounts: readonly { readonly target: string; readonly mount: FdHandle }[];
  /** Mounts that the launcher must make itself, because this broker has no privilege to make them. */
  readonly binds: readonly EntryBind[];
  /** The namespace has one user and one group. A process in it cannot drop groups (setgroups(2)). */
  readonly isRootless: boolean;
}

const MOUNT_ATTR_NOEXEC = 0x8;

/** Makes the entry for a launcher that runs as the user `owner`. Throws SYSTEM_ERROR. */
export function makeRootEntry(root: Root, owner: number, binds: readonly EntryBind[], sys: Native): RootEntry {
  if (root.userns !== undefined) {
    // Only root can mount a new /proc. The host's /proc is enough: every process here belongs to the broker's user.
    const proc = { source: "/proc", target: "/proc", readOnly: false };
    return { userns: root.userns.dup(), mounts: [], binds: [proc, ...binds], isRootless: true };
  }
  const { range } = root.facts;
  if (range === undefined) {
    throw new BerthError(
      "SYSTEM_ERROR",
      'a server cannot enter a root that has no ids of its own: remove root.shift = "none"; if a broker without root made this root, end its tenants first',
    );
  }
  const made: FdHandle[] = [];
  const keep = (handle: FdHandle): FdHandle => {
    made.push(handle);
    return handle;
  };
  try {
    const userns = keep(makeUserNamespace(range, owner, sys));
    const mounts = [{ target: "/proc", mount: keep(procOf(sys)) }];
    for (const { target, source, readOnly } of binds)
      mounts.push({ target, mount: keep(treeOf(source, readOnly, sys)) });
    return { userns, mounts, binds: [], isRootless: false };
  } catch (error) {
    closeAll(made);
    throw error;
  }
}

/** A /proc that hides the processes of other users (proc(5), hidepid). A user namespace alone cannot mount one. */
function procOf(sys: Native): FdHandle {
  using context = new FsContext("proc", sys);
  context.set("hidepid", "invisible");
  return context.mount(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/**
 * A detached copy of the mount at a path, without the mounts below it. Its files keep the host's owners. If they were
 * shifted into the range, files that root of the range writes would belong to the host's root.
 */
function treeOf(source: string, readOnly: boolean, sys: Native): FdHandle {
  const tree = FdHandle.adopt(check("open_tree", sys.openTree(AT_FDCWD, source, OPEN_TREE_CLONE), source), sys);
  try {
    const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (readOnly ? MOUNT_ATTR_RDONLY : 0);
    check("mount_setattr", sys.mountSetattr(tree.fd, attributes, 0), source);
    return tree;
  } catch (error) {
    tree.close();
    throw error;
  }
}
