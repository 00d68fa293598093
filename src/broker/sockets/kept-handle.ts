/**
 * The broker's descriptor of a held socket, and the copy of it in the keeper. Once that is there, closing this one is
 * not the last time, and cannot wait.
 */
import type { FdCalls, FdHandle } from "../../fd.ts";
import type { Keeper, Kept } from "../guard/keeper.ts";
import { socketInode } from "./passed-socket.ts";

export class KeptHandle {
  readonly #sys: FdCalls;
  #handle: FdHandle;
  #kept: Kept | undefined;
  #inode: bigint | undefined;
  /** Called before the descriptor is closed: by those who have lent it to a thread. */
  readonly closing: Set<() => void> = new Set();

  constructor(handle: FdHandle, sys: FdCalls) {
    this.#handle = handle;
    this.#sys = sys;
  }

  get open(): boolean {
    return this.#handle.open;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  /** Its inode, which stays the same: each record of a lease has it. */
  get inode(): bigint {
    this.#inode ??= socketInode(this.#handle.fd);
    return this.#inode;
  }

  /** Has the keeper keep a copy, if it has none. `whose` is for the log. */
  keep(keeper: Keeper, whose: string): void {
    const handle = this.#handle;
    this.#kept ??= keeper.keep(whose, () => (handle.open ? handle.fd : undefined));
  }

  /** Closes it for good. `isForeign`: if there is no copy, the guard closes it, for that may wait. */
  close(isForeign: () => boolean): void {
    this.#close(isForeign);
    this.#kept?.drop();
    this.#kept = undefined;
  }

  /** As {@link close}, and the other one takes its place. Its address is free then, unless a tenant holds that up. */
  replace(fresh: FdHandle, isForeign: () => boolean): void {
    this.#close(isForeign);
    this.#handle = fresh;
    this.#inode = undefined;
    this.#kept?.dropNow();
    this.#kept = undefined;
  }

  /** Closes this descriptor: the socket is for another broker. */
  leave(): void {
    this.#tellClosing();
    this.#handle.close();
    this.#kept?.drop();
    this.#kept = undefined;
  }

  #close(isForeign: () => boolean): void {
    if (!this.#handle.open) return;
    this.#tellClosing();
    if (this.#kept?.isThere !== true && isForeign()) this.#sys.closeForeign(this.#handle.steal());
    else this.#handle.close();
  }

  #tellClosing(): void {
    for (const tell of [...this.closing]) tell();
  }
}
