/**
 * One bound socket that the broker holds, with the configured options. At the end of a lease, repairs what a tenant
 * changed on it (hazard 16). Once anybody else has or had it, calls that take its lock are planned, for the guard.
 */
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import { check } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { type Address, encodeSockaddr, formatListenAddress, type ListenAddress } from "../../net/address.ts";
import { boundAddress } from "../../net/socket-queries.ts";
import type { Keeper } from "../guard/keeper.ts";
import { carryOver, type OwnSettings } from "../plans/carry-over.ts";
import { applyOptions, checkOptions, openSocket } from "../plans/open-socket.ts";
import type { SocketPlan } from "../plans/socket-call.ts";
import { type CaredFor, type Due, interfaceIndex, PATH_LOST, reopened, SocketCare } from "../plans/socket-care.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { keyHash, type StoredSocket } from "../record/stored-name.ts";
import { BoundInterface, withIndex } from "./interfaces/bound-interface.ts";
import { KeptHandle } from "./kept-handle.ts";
import { boundAt, type PassedSocket } from "./passed-socket.ts";
import { socketKey } from "./socket-key.ts";
import { SocketUid, uidOfSocket } from "./socket-uid.ts";
import { OwnPath } from "./unix-path.ts";

export class HeldSocket implements Disposable, CaredFor {
  readonly key: string;
  #hash: string | undefined;
  readonly listen: ListenAddress;
  readonly #sys: Native;
  #options: SocketOptions;
  readonly #handle: KeptHandle;
  readonly #care: SocketCare;
  #carrying: Set<Promise<unknown>> | undefined;
  readonly #interface: BoundInterface | undefined;
  /** Where it is bound. Remembered, because a tenant that connects the socket changes the kernel's answer. */
  #bound: Address;
  readonly #path: OwnPath;
  readonly #uid = new SocketUid();
  /** Its copy in a store. The copy keeps the address in use. */
  storedCopy: StoredCopy | undefined;
  /** Of a UDP socket: to ask when a datagram came last (SIOCGSTAMP) takes no lock of it. */
  tellsTimes = true;

  private constructor(listen: ListenAddress, options: SocketOptions, handle: FdHandle, sys: Native) {
    this.key = socketKey(listen, options);
    this.listen = listen;
    this.#options = options;
    this.#handle = new KeptHandle(handle, sys);
    this.#bound = listen.address;
    this.#path = new OwnPath(listen.address);
    this.#sys = sys;
    this.#care = new SocketCare(this, sys);
    this.#interface = BoundInterface.of(listen, options);
  }

  /**
   * Opens, binds, and listens if it is a stream or seqpacket socket. Throws {@link SysError} with the address as path.
   * Where another has the address and `reuse-port`, it must be the same user's: that of `beside`.
   */
  static open(listen: ListenAddress, options: SocketOptions, sys: Native, beside?: HeldSocket): HeldSocket {
    const socket = new HeldSocket(listen, options, openSocket(listen, options, sys), sys);
    try {
      if (beside !== undefined) socket.giveTo(uidOfSocket(beside.fd));
      socket.#bind();
      return socket;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /**
   * Takes over a passed socket that {@link fits}. The options that can change on an open socket become {@link due}
   * where it is a berth's. Throws {@link SysError}; the socket is closed then.
   */
  static adopt(
    passed: PassedSocket,
    listen: ListenAddress,
    options: SocketOptions,
    sys: Native,
    whose: "berth" | "broker" = "berth",
  ): HeldSocket {
    const socket = new HeldSocket(listen, options, passed.handle, sys);
    socket.storedCopy = passed.storedCopy;
    socket.tellsTimes = passed.isMute !== true;
    try {
      socket.#bound = boundAt(passed, listen.address);
      socket.#path.adopt(passed.stored);
      socket.#interface?.note(socket.fd, sys);
      if (whose === "berth") socket.#care.adopt(passed.stored === undefined, passed.given);
      socket.reapply();
      return socket;
    } catch (error) {
      socket.leave();
      throw error;
    }
  }

  /** Called before its descriptor is closed, and before another berth gets it. */
  get closing(): Set<() => void> {
    return this.#handle.closing;
  }

  /** The work of those who carry out a plan of {@link carryOver}, until it settles. */
  get carrying(): Set<Promise<unknown>> {
    this.#carrying ??= new Set();
    return this.#carrying;
  }

  get open(): boolean {
    return this.#handle.open;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  get inode(): bigint {
    return this.#handle.inode;
  }

  /** Identifies its copy in the store. */
  get identity(): Omit<StoredSocket, "berth" | "socket"> {
    const path = this.#path.stored;
    this.#hash ??= keyHash(this.key);
    return { hash: this.#hash, inode: this.inode, ...(path !== undefined && { path }) };
  }

  /** The plan that sets on it what a server has set on its own socket. It stays until the lease ends. */
  carryOver(own: OwnSettings): SocketPlan<void> {
    this.carry(own.settings.map(({ option }) => option.name));
    return carryOver(own, this.#sys.getfl(this.fd));
  }

  /** The broker changes these options for the present tenant. */
  carry(names: Iterable<string>): void {
    for (const name of names) this.#care.carry(name);
  }

  /** Where it is bound. For port 0, the port that the kernel chose. */
  get address(): Address {
    return withIndex(this.#bound, this.#sys);
  }

  /** Whether clients can still reach it: the path of a UNIX socket may have been removed or replaced. */
  get reachable(): boolean {
    return this.#path.isReachable;
  }

  get options(): SocketOptions {
    return this.#options;
  }

  /** Somebody else gets it: from now on its lock may be held. */
  share(): void {
    this.#care.isShared = true;
  }

  /** Has the keeper keep a copy of it, if somebody else has or had it. Returns whether somebody has. */
  keep(keeper: Keeper, whose: string): boolean {
    if (this.#care.isShared && this.#handle.open) this.#handle.keep(keeper, whose);
    return this.#care.isShared;
  }

  /** Makes it that user's, where the broker may, for rules by uid. */
  giveTo(uid: number): void {
    this.#uid.set(uid, this.#handle.open ? this.fd : undefined);
  }

  /** What of it waits for {@link tend}; nothing once it is closed. */
  get due(): Due | undefined {
    return this.#handle.open ? this.#care.due : undefined;
  }

  /** As in {@link SocketCare.lost}. */
  get lost(): string | undefined {
    return this.#handle.open ? this.#care.lost : undefined;
  }

  /** A tenant is gone, and may have changed it. */
  needsRepair(): void {
    this.#care.needsRepair();
  }

  /** Applies options; once somebody else has or had it, checks them, and they become {@link due}. Throws. */
  reconfigure(options: SocketOptions): void {
    if (!this.#care.isShared || JSON.stringify(options) !== JSON.stringify(this.#options)) this.#apply(options);
  }

  /** Sets its options again: another broker may have set others. Throws {@link SysError}. */
  reapply(): void {
    this.#apply(this.#options);
  }

  /** Whether its interface is there. If that went and came back, it becomes {@link due} to bind to it again. */
  follow(isVacant: boolean): "none" | "bound" | "gone" | "due" {
    const index = this.#interface?.compare(this.fd, this.#sys) ?? "none";
    if (typeof index !== "string") this.#care.needsInterface(index, isVacant);
    return typeof index === "string" ? index : "due";
  }

  /** Plans what is {@link due} or `now`, for the guard. `tell` gets one sentence for each thing that was wrong. */
  tend(tell: (sentences: readonly string[]) => void, now?: Due, keepsFlags?: boolean): SocketPlan<void> {
    return this.#care.plan(tell, (why) => reopened(why, this), now ?? this.due, keepsFlags);
  }

  /** Opens a new socket on the same address. Closes ours first, for two cannot be bound. Throws. */
  reopen(): void {
    const fresh = openSocket(this.listen, this.#options, this.#sys);
    this.#path.remove();
    this.#take(fresh, this.#care.isShared, "dropNow");
    this.#bind();
  }

  /** If its path was removed or replaced: opens it again, and says what came of it. */
  renewPath(): string | undefined {
    return this.reachable ? undefined : reopened(PATH_LOST, this);
  }

  /** Takes a new listener at its address, and waits for nobody. False: a repair is about to. Throws, and keeps this. */
  renewListener(): boolean {
    const { isShared, isGivenUp } = this.#care;
    if (isGivenUp) return false;
    using fresh = openSocket(this.listen, this.#options, this.#sys);
    this.#path.remove();
    this.#bind(fresh.fd);
    this.#take(fresh.move(), isShared, "drop");
    return true;
  }

  /** Closes our descriptor and its stored copy, and removes the path of a UNIX socket if it is still ours. */
  close(): void {
    if (!this.#handle.open) return;
    this.storedCopy?.drop();
    this.storedCopy = undefined;
    this.#handle.close(this.listen, this.#care.isShared);
    this.#path.remove();
  }

  /** Closes our descriptor only: its copy is for another broker. */
  leave(): void {
    this.#handle.leave();
  }

  /** When the broker ends: leaves the socket to another broker if it has a copy, else closes it. */
  retire(): void {
    this.storedCopy === undefined ? this.close() : this.leave();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #apply(options: SocketOptions): void {
    if (this.#care.isShared) {
      checkOptions(this.listen, options, this.#care.place, this.#sys);
      this.#care.needsSettings(options);
    } else {
      this.#care.keep(options);
      applyOptions(this.#sys, this.fd, this.listen, options);
      this.#startListening(options);
    }
    this.#options = options;
    this.#path.setAccess(options);
  }

  /** Binds. A socket that was bound before gets the same port. */
  #bind(fd: number = this.fd): void {
    const address = this.#bound;
    this.#uid.renew(fd);
    this.#path.prepare(fd, this.listen.kind, this.#sys);
    const scope = address.family === "ipv6" ? interfaceIndex(address.scope, this.#sys) : 0;
    check("bind", this.#sys.bind(fd, encodeSockaddr(address, scope)), formatListenAddress(this.listen));
    this.#path.bound(this.#options);
    const is = boundAddress(fd, this.#sys);
    if (address.family !== "unix" && is?.family === address.family && is.port !== address.port)
      this.#bound = { ...address, port: is.port };
    this.#startListening(this.#options, fd);
    this.#interface?.note(fd, this.#sys);
    this.#care.begin();
  }

  #startListening({ backlog }: SocketOptions, fd: number = this.fd): void {
    const { listen } = this;
    if (listen.kind !== "datagram") check("listen", this.#sys.listen(fd, backlog), formatListenAddress(listen));
  }

  #take(fresh: FdHandle, wasShared: boolean, drop: keyof StoredCopy): void {
    this.storedCopy?.[drop]();
    this.storedCopy = undefined;
    this.#handle.replace(fresh, this.listen, wasShared, drop);
    this.tellsTimes = true;
    this.#path.renew();
  }
}
