/**
 * What a launcher needs beside a root to enter it: a user namespace with the root's ids, and mounts that only the broker
 * can make. All of it is by descriptor, attached nowhere, and the caller's to close. The launcher puts it together.
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
import type { Root } from "./root.ts";

/** Something of the host's that is placed in the root. */
export interface EntryBind {
  readonly target: string;
  readonly source: string;
  readonly readOnly: boolean;
}

export interface RootEntry {
  readonly userns: FdHandle;
  /** Detached mounts, and where they belong. */
  readonly mounts: readonly { readonly target: string; readonly mount: FdHandle }[];
  /** What the launcher has to take along by itself, because this broker cannot. */
  readonly binds: readonly EntryBind[];
  /** The namespace has one user and one group, and lets nobody leave any. */
  readonly isRootless: boolean;
}

const MOUNT_ATTR_NOEXEC = 0x8;

/** Makes it, for a launcher of the user `owner`. Throws SYSTEM_ERROR. */
export function makeRootEntry(root: Root, owner: number, binds: readonly EntryBind[], sys: Native): RootEntry {
  if (root.userns !== undefined) {
    // The broker's user has no processes to hide from itself, and a new /proc is root's to make.
    const proc = { source: "/proc", target: "/proc", readOnly: false };
    return { userns: root.userns.dup(), mounts: [], binds: [proc, ...binds], isRootless: true };
  }
  const { range } = root.facts;
  if (range === undefined) {
    throw new BerthError(
      "SYSTEM_ERROR",
      'nobody can enter a root without ids of its own: remove root.shift = "none"; or if an earlier broker without root made it, end its tenants first',
    );
  }
  const made: FdHandle[] = [];
  const keep = (handle: FdHandle): FdHandle => {
    made.push(handle);
    return handle;
  };
  try {
    const userns = keep(FdHandle.adopt(check("user namespace", sys.userns(range.base, range.count, owner)), sys));
    const mounts = [{ target: "/proc", mount: keep(procOf(sys)) }];
    for (const { target, source, readOnly } of binds)
      mounts.push({ target, mount: keep(treeOf(source, readOnly, sys)) });
    return { userns, mounts, binds: [], isRootless: false };
  } catch (error) {
    closeAll(made);
    throw error;
  }
}

/** A /proc in which a process sees no other user's (proc(5), hidepid). A user namespace alone could not make one. */
function procOf(sys: Native): FdHandle {
  using context = new FsContext("proc", sys);
  context.set("hidepid", "invisible");
  return context.mount(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/**
 * A copy of the mount at a path, without what is mounted below, and with the host's owners: shifted into the range, what
 * root of the range writes would belong to the host's root.
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
