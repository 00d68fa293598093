/**
 * Where a broker may keep what answers its servers' binds, so that the next broker can go on. restart/ implements it.
 */
import type { FdHandle } from "../../fd.ts";
import type { StoredCopy } from "../record/stored-copy.ts";

export interface BindStore {
  /**
   * Stores `notify`, on which a server's binds are reported (borrowed), and a new memfd that records the bind being
   * answered. Returns that memfd, which the caller then owns. Undefined when nothing could be stored.
   */
  keepBinds(
    berth: string,
    lease: string,
    notify: number,
  ): { readonly storedCopy: StoredCopy; readonly record: FdHandle } | undefined;
}
