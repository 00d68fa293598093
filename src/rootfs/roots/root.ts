/** A root that was built: its mount, what is to be known of it, and what must stay while it is used. */
import { SysError } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import { AT_EMPTY_PATH, type Native, OPEN_TREE_CLONE } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import type { Range } from "../ranges/range.ts";

export type Strategy = "idmap" | "metacopy" | "none";

/** How a root came about. Plain data: with it and the descriptor another broker can go on with the same root. */
export interface RootFacts {
  readonly strategy: Strategy;
  /** What lies below, from the bottom up: `arena@2.1`, or a path. */
  readonly images: readonly string[];
  readonly state: "persistent" | "volatile" | "readonly";
  /** The ids in it; absent with strategy none. */
  readonly range?: Range;
}

export class Root {
  readonly facts: RootFacts;
  /** The user namespace it was made in, if not the broker's: who enters the root joins it. Closed with the root. */
  readonly userns: FdHandle | undefined;
  readonly #mount: FdHandle;
  #holds: readonly FdHandle[];
  readonly #sys: Native;
  #closed: Promise<void> | undefined;

  /** Takes ownership of a detached mount, and of what keeps its images from being removed. */
  constructor(mount: FdHandle, facts: RootFacts, holds: readonly FdHandle[], sys: Native, userns?: FdHandle) {
    this.#mount = mount;
    this.facts = facts;
    this.userns = userns;
    this.#holds = holds;
    this.#sys = sys;
  }

  /** Takes ownership of what is to keep its images from being removed, in place of what did so before. */
  keep(holds: readonly FdHandle[]): void {
    closeAll(this.#holds);
    this.#holds = holds;
  }

  /** The mount, borrowed: for those who keep it, not for tenants. */
  get fd(): number {
    return this.#mount.fd;
  }

  /**
   * The root for one tenant: another mount of the same files. A tenant may attach what it gets, once, and change its
   * attributes; the next one gets one of its own. Throws SYSTEM_ERROR.
   */
  lend(): FdHandle {
    const clone = this.#sys.openTree(this.fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (clone >= 0) return FdHandle.adopt(clone, this.#sys);
    const error = new SysError("open_tree", -clone, "the berth's root");
    // Linux before 6.15 copies no detached mount, and none at all without privilege: then all tenants have the same.
    if (error.errnoName === "EINVAL" || error.errnoName === "EPERM") return this.#mount.dup();
    throw error;
  }

  /**
   * Lets go of it, and resolves when that is done. The last one to have it open unmounts it, and a persistent root then
   * writes its file system's cache out: not on this thread, which has clients to serve.
   */
  close(): Promise<void> {
    this.#closed ??= closeLater(this.#mount).then(() => {
      this.keep([]);
      this.userns?.close();
    });
    return this.#closed;
  }
}
