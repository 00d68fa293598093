/**
 * One bound socket that the broker holds. Opens it with the configured options. At the end of a lease, repairs what a
 * tenant changed on the shared open file description (hazard 16; test/broker/sockets/held-socket.test.ts).
 */
import { fchmodSync, lstatSync } from "node:fs";
import { type SocketOptions, settingsFor } from "../../config/keys/socket-options.ts";
import { check, SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { type Address, encodeSockaddr, formatListenAddress, type ListenAddress, pathOf } from "../../net/address.ts";
import { boundAddress } from "../../net/socket-queries.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { keyHash, type StoredSocket } from "../record/stored-name.ts";
import { carryOver, type OwnSettings } from "./carry-over.ts";
import { applyBindOptions, applyOptions, makeBlocking, openSocket } from "./open-socket.ts";
import { configuredState, expectedState, type OptionState, readPlan } from "./option-state.ts";
import { type PassedSocket, socketInode } from "./passed-socket.ts";
import { runPlan, type SocketPlan } from "./socket-call.ts";
import { socketKey } from "./socket-key.ts";
import { repairPlan } from "./socket-repair.ts";
import { isInode, prepareUnixPath, removeUnixPath, setPathAccess } from "./unix-path.ts";

/** shutdown(2). */
const SHUT_RDWR = 2;

export class HeldSocket implements Disposable {
  readonly key: string;
  readonly #hash: string;
  readonly listen: ListenAddress;
  readonly #sys: Native;
  #options: SocketOptions;
  #handle: FdHandle;
  /** Names of options that the broker itself changed since the last lease ended: to set them back takes no sentence. */
  readonly #carried = new Set<string>();
  /** Of a .socket unit: the options that the unit gave it. */
  #given: OptionState | undefined;
  /** Where it is bound. Remembered, because a tenant that connects the socket changes the kernel's answer. */
  #bound: Address;
  /** Inode of a UNIX socket's path, so that only our own path is removed. */
  #inode: bigint | undefined;
  #isAdopted = false;
  /** True if a .socket unit bound it: then the path belongs to the unit. */
  #foreign = false;
  /** Its copy in a store. The copy keeps the address in use. */
  storedCopy: StoredCopy | undefined;

  private constructor(listen: ListenAddress, options: SocketOptions, handle: FdHandle, sys: Native) {
    this.key = socketKey(listen, options);
    this.#hash = keyHash(this.key);
    this.listen = listen;
    this.#options = options;
    this.#handle = handle;
    this.#bound = listen.address;
    this.#sys = sys;
  }

  /**
   * Opens, binds, and listens if it is a stream or seqpacket socket. Throws {@link SysError} with the address as path.
   */
  static open(listen: ListenAddress, options: SocketOptions, sys: Native): HeldSocket {
    const socket = new HeldSocket(listen, options, openSocket(listen, options, sys), sys);
    try {
      socket.#bind();
      return socket;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /**
   * Takes over a passed socket that {@link fits}. Applies the options that can change on an open socket. Throws
   * {@link SysError}; the socket is closed then.
   */
  static adopt(passed: PassedSocket, listen: ListenAddress, options: SocketOptions, sys: Native): HeldSocket {
    const { handle, stored } = passed;
    const socket = new HeldSocket(listen, options, handle, sys);
    socket.storedCopy = passed.storedCopy;
    socket.#isAdopted = true;
    try {
      const { address } = listen;
      const now = socket.#sockname();
      if (address.family !== "unix" && now !== undefined && now.family !== "unix")
        socket.#bound = { ...address, port: now.port };
      socket.#foreign = stored === undefined || stored.path === "foreign";
      if (address.family === "unix" && !address.abstract) socket.#inode = inodeBehind(address.path, stored);
      if (socket.#foreign) socket.#given = runPlan(readPlan(listen), handle.fd, sys);
      if (stored === undefined) {
        makeBlocking(handle.fd, sys);
        applyBindOptions(sys, handle.fd, listen, options, "bound");
      }
      socket.reconfigure(options);
      return socket;
    } catch (error) {
      socket.leave();
      throw error;
    }
  }

  get fd(): number {
    return this.#handle.fd;
  }

  /** Identifies its copy in the store. */
  get identity(): Omit<StoredSocket, "berth" | "socket"> {
    const path = this.#foreign ? "foreign" : this.#inode;
    return { hash: this.#hash, inode: socketInode(this.fd), ...(path !== undefined && { path }) };
  }

  /** Whether it is bound to [::] and accepts IPv4 too. */
  get dualStack(): boolean {
    const { address, dualStack } = this.listen;
    return address.family === "ipv6" && (dualStack || !this.#options.v6only);
  }

  /** The plan that sets on it what a server has set on its own socket. It stays until the lease ends. */
  carryOver(own: OwnSettings): SocketPlan<void> {
    for (const { option } of own.settings) this.#carried.add(option.name);
    return carryOver(own, this.#sys.getfl(this.fd));
  }

  /** Where it is bound. For port 0, the port that the kernel chose. */
  get address(): Address {
    return this.#bound;
  }

  /** Whether an earlier broker or a .socket unit opened it, so that tenants may have had it. */
  get isAdopted(): boolean {
    return this.#isAdopted;
  }

  /** Whether clients can still reach it: the path of a UNIX socket may have been removed or replaced. */
  get reachable(): boolean {
    const { address } = this.listen;
    return address.family !== "unix" || address.abstract || isInode(address.path, this.#inode);
  }

  get options(): SocketOptions {
    return this.#options;
  }

  /** Applies the options that can change while the socket is open. */
  reconfigure(options: SocketOptions): void {
    // An option that is no longer configured keeps its value until the lease ends: that was not the server's doing.
    const kept = new Set(settingsFor("any", this.listen, options).map(({ kernel }) => kernel.name));
    for (const { kernel } of settingsFor("any", this.listen, this.#options))
      if (!kept.has(kernel.name)) this.#carried.add(kernel.name);
    this.#options = options;
    applyOptions(this.#sys, this.fd, this.listen, options);
    this.#startListening();
    const { address } = this.listen;
    // The path of a .socket unit has the mode and owner that the unit gives it.
    if (address.family === "unix" && !address.abstract && !this.#foreign)
      setPathAccess(address.path, options, this.#inode);
  }

  /**
   * Sets right what a tenant may have changed on the shared description. Returns one sentence for each repair. If
   * nothing else helps, it opens a new socket on the same address.
   */
  repair(): string[] {
    const { listen } = this;
    let uncompared: string | undefined;
    const configured = (mustBeNew: boolean): OptionState => {
      try {
        return this.#configured(mustBeNew);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        uncompared = error.message;
        return [];
      }
    };
    const plan = repairPlan({
      listen,
      options: this.#options,
      bound: this.#bound,
      carried: new Set(this.#carried),
      configured,
    });
    const { sentences, beyondRepair } = runPlan(plan, this.fd, this.#sys);
    this.#carried.clear();
    if (uncompared !== undefined)
      sentences.push(`may have options that the server set: there is no new socket to compare it with (${uncompared})`);
    return beyondRepair === undefined ? sentences : [...sentences, this.#reopen(beyondRepair)];
  }

  /** Opens it again after {@link close}, to undo a failed reload. */
  reopen(): void {
    this.#handle = openSocket(this.listen, this.#options, this.#sys);
    this.#bind();
  }

  /** Closes our descriptor and its stored copy, and removes the path of a UNIX socket if it is still ours. */
  close(): void {
    if (!this.#handle.open) return;
    this.storedCopy?.drop();
    this.storedCopy = undefined;
    this.#handle.close();
    this.#removePath();
  }

  /** Closes our descriptor only: its copy is for another broker. */
  leave(): void {
    this.#handle.close();
  }

  /** When the broker ends: leaves the socket to another broker if it has a copy, else closes it. */
  retire(): void {
    if (this.storedCopy === undefined) this.close();
    else this.leave();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #removePath(): void {
    const { address } = this.listen;
    if (address.family === "unix" && !address.abstract && !this.#foreign) removeUnixPath(address.path, this.#inode);
  }

  /** Binds. A socket that was bound before gets the same port. */
  #bind(): void {
    const address = this.#bound;
    const path = formatListenAddress(this.listen);
    const pathname = pathOf(address);
    if (pathname !== undefined) prepareUnixPath(pathname, this.listen.kind, this.#sys);
    const scope = address.family === "ipv6" ? scopeIndex(address.scope, this.#sys) : 0;
    // The path inherits the socket's permission bits. Nobody else may connect before its owner is set.
    if (pathname !== undefined) fchmodSync(this.fd, 0o600);
    check("bind", this.#sys.bind(this.fd, encodeSockaddr(address, scope)), path);
    if (pathname !== undefined) this.#inode = setPathAccess(pathname, this.#options);
    this.#bound = this.#sockname() ?? address;
    this.#startListening();
  }

  #sockname(): Address | undefined {
    if (this.listen.address.family === "unix") return this.listen.address;
    return boundAddress(this.fd, this.#sys);
  }

  #startListening(): void {
    if (this.listen.kind === "datagram") return;
    check("listen", this.#sys.listen(this.fd, this.#options.backlog), formatListenAddress(this.listen));
  }

  /**
   * Opens a new socket on the same address, and describes that. Closes ours first, because two cannot be bound. The gap
   * takes microseconds.
   */
  #reopen(reason: string): string {
    try {
      const fresh = openSocket(this.listen, this.#options, this.#sys);
      this.#removePath();
      // Where the former tenant still has it: a TCP socket that does not listen leaves its address to others.
      this.#sys.shutdown(this.fd, SHUT_RDWR);
      this.#handle.close();
      this.#handle = fresh;
      this.storedCopy?.dropNow();
      this.storedCopy = undefined;
      this.#foreign = false;
      this.#given = undefined;
      this.#bind();
      return `${reason}; it was opened again`;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return `${reason} and cannot be opened again: ${why}; berthd tries again when the next lease ends`;
    }
  }

  /** What its options should be between leases. Throws {@link SysError} when no new socket can be opened. */
  #configured(mustBeNew: boolean): OptionState {
    const { listen } = this;
    const { address } = listen;
    const state = configuredState(listen, this.#options, this.#sys, mustBeNew);
    const scope = address.family === "ipv6" ? scopeIndex(address.scope, this.#sys) : 0;
    return expectedState(listen, this.#options, { fresh: state, given: this.#given, scope });
  }
}

function scopeIndex(scope: string | undefined, sys: Native): number {
  if (scope === undefined) return 0;
  return /^\d+$/.test(scope) ? Number(scope) : sys.ifindex(scope);
}

/** The inode of the path, if the socket is bound to it. A stored socket's inode is recorded; a unit's is trusted. */
function inodeBehind(path: string, stored: StoredSocket | undefined): bigint | undefined {
  if (typeof stored?.path === "bigint") return stored.path;
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}
