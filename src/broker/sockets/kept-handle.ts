/**
 * The broker's descriptor of a held socket, and the copy of it in the keeper. Once that is there, closing this one is
 * not the last time, and cannot wait.
 */
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { ListenAddress } from "../../net/address.ts";
import { SO_ACCEPTCONN, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketOption } from "../../net/socket-queries.ts";
import type { Keeper, Kept } from "../guard/keeper.ts";
import { socketInode } from "./passed-socket.ts";

export class KeptHandle {
  readonly #sys: Native;
  #handle: FdHandle;
  #kept: Kept | undefined;
  #inode: bigint | undefined;
  /** Made for the first: most sockets have none. */
  #closing: Set<() => void> | undefined;

  constructor(handle: FdHandle, sys: Native) {
    this.#handle = handle;
    this.#sys = sys;
  }

  /** Called before the descriptor is closed: by those who have lent it to a thread. */
  get closing(): Set<() => void> {
    this.#closing ??= new Set();
    return this.#closing;
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

  /** Closes it for good. What tenants had may wait to close: then the guard closes it, if there is no copy. */
  close(listen: ListenAddress, isShared: boolean): void {
    this.#close(listen, isShared);
    this.#kept?.drop();
    this.#kept = undefined;
  }

  /**
   * As {@link close}, and the other one takes its place. With `dropNow` its address is free then, unless a tenant holds
   * that up; with `drop` nobody waits.
   */
  replace(fresh: FdHandle, listen: ListenAddress, isShared: boolean, drop: "drop" | "dropNow"): void {
    this.#close(listen, isShared);
    this.#handle = fresh;
    this.#inode = undefined;
    this.#kept?.[drop]();
    this.#kept = undefined;
  }

  /** Closes this descriptor: the socket is for another broker. */
  leave(): void {
    this.#tellClosing();
    this.#handle.close();
    this.#kept?.drop();
    this.#kept = undefined;
  }

  #close(listen: ListenAddress, isShared: boolean): void {
    if (!this.#handle.open) return;
    this.#tellClosing();
    if (this.#kept?.isThere !== true && isShared && this.#mayLinger(listen))
      this.#sys.closeForeign(this.#handle.steal());
    else this.#handle.close();
  }

  /** A tenant's own connection may linger (SO_LINGER, socket(7)). A listener never does. */
  #mayLinger({ kind, address }: ListenAddress): boolean {
    const isTcp = kind === "stream" && address.family !== "unix";
    return isTcp && socketOption(this.fd, SOL_SOCKET, SO_ACCEPTCONN, this.#sys) !== 1;
  }

  #tellClosing(): void {
    for (const tell of [...(this.#closing ?? [])]) tell();
  }
}
