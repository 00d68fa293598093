/** A root that was built: its mount, the facts about it, and the locks on its images. */
import { SysError } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import { AT_EMPTY_PATH, type Native, OPEN_TREE_CLONE } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import type { Range } from "../ranges/range.ts";

export type Strategy = "idmap" | "metacopy" | "none";

/** How a root was built. Plain data: in a takeover the next broker needs only this and the mount's descriptor. */
export interface RootFacts {
  readonly strategy: Strategy;
  /** The images from the bottom up, each as `arena@2.1` or a path. */
  readonly images: readonly string[];
  readonly state: "persistent" | "volatile" | "readonly";
  /** The ids of its files. Absent with strategy none. */
  readonly range?: Range;
}

export class Root {
  readonly facts: RootFacts;
  /** The user namespace of a rootless root. A server that enters the root joins it. Closed with the root. */
  readonly userns: FdHandle | undefined;
  readonly #mount: FdHandle;
  #holds: readonly FdHandle[];
  readonly #sys: Native;
  #closed: Promise<void> | undefined;

  /** Takes ownership of the detached mount and of `holds`, the locks that protect its images from removal. */
  constructor(mount: FdHandle, facts: RootFacts, holds: readonly FdHandle[], sys: Native, userns?: FdHandle) {
    this.#mount = mount;
    this.facts = facts;
    this.userns = userns;
    this.#holds = holds;
    this.#sys = sys;
  }

  /** Replaces the locks that protect the images from removal. Takes ownership of the new ones, closes the old ones. */
  keep(holds: readonly FdHandle[]): void {
    closeAll(this.#holds);
    this.#holds = holds;
  }

  /** The mount, borrowed. The broker may store it. Tenants get {@link lend}. */
  get fd(): number {
    return this.#mount.fd;
  }

  /**
   * A mount of the root for one tenant. A tenant can attach a detached mount only once, and can change its attributes.
   * So each tenant gets its own mount of the same files. Throws SYSTEM_ERROR.
   */
  lend(): FdHandle {
    const clone = this.#sys.openTree(this.fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (clone >= 0) return FdHandle.adopt(clone, this.#sys);
    const error = new SysError("open_tree", -clone, "the berth's root");
    // Linux before 6.15 cannot copy a detached mount, and a broker without privilege never can. Then tenants share it.
    if (error.errnoName === "EINVAL" || error.errnoName === "EPERM") return this.#mount.dup();
    throw error;
  }

  /**
   * Closes the root. Resolves when the mount is closed. The last close unmounts it, and then a persistent root writes
   * its cache to disk. This happens on another thread, because this one serves clients.
   */
  close(): Promise<void> {
    this.#closed ??= closeLater(this.#mount).then(() => {
      this.keep([]);
      this.userns?.close();
    });
    return this.#closed;
  }
}
