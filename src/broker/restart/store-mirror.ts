/**
 * Keeps a copy of everything the broker holds outside of the broker: in the service manager's store, or in the snapshot
 * for a broker that takes over. It stores each descriptor before anyone is told about it, so a broker that is killed at
 * any instant loses nothing that a client has seen. The copy goes when the descriptor goes. restore.ts reads the copies
 * back.
 */
import { writeSync } from "node:fs";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import type { DescriptorStore, NotStored } from "../../systemd/fd-store.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import { fileOf, type Stashed } from "../berths/berth/stash.ts";
import type { Berths } from "../berths/berths.ts";
import { bindRecord } from "../bind/bind-reports.ts";
import type { BindStore } from "../bind/bind-store.ts";
import { encodeLeaseFacts } from "../record/lease-facts.ts";
import { encodeRootFacts } from "../record/root-facts.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { leaseName, rootName, type StoredStash, socketName, stashName } from "../record/stored-name.ts";
import { wrapFd } from "../record/wrapped-fd.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import { type PassedSocket, withoutCopy } from "../sockets/passed-socket.ts";
import { StashShare, storeAdvice } from "./store-share.ts";

/** Pause after the manager did not take a message. */
const RETRY_MS = 10_000;

export interface StoreMirrorOptions {
  readonly store: DescriptorStore;
  readonly sys: Native;
  readonly log: Log;
  /** What could not be stored at first is tried again. */
  readonly berths: Pick<Berths, "all">;
}

export class StoreMirror implements BindStore {
  readonly #options: StoreMirrorOptions;
  /** Sockets that the broker has bound for itself. */
  readonly #own: NamedSocket[] = [];
  readonly #records = new Map<Lease, FdHandle>();
  /**
   * Stored descriptors by their file. A second one of a file must be wrapped, and so must one whose file is unknown.
   */
  readonly #files = new Map<string, number>();
  readonly #stashes: StashShare;
  #serial = 0;
  #closed = false;
  /** Why something is not stored, and the reason that was logged last. */
  #lack: NotStored | undefined;
  #said: NotStored | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: StoreMirrorOptions) {
    this.#options = options;
    this.#stashes = new StashShare(options.store, options.berths);
  }

  /** Stores what of the berth is not stored yet, and updates the facts of its leases. */
  keep(berth: Berth): void {
    for (const { name, socket } of berth.sockets) this.#keepSocket(socket, name, berth.name);
    berth.aside = berth.aside.map((passed) => this.#keepPassed(passed));
    for (const stashed of berth.stash.values()) this.#keepStash(stashed, berth.name);
    // Before the lease: a restored lease without its root could not get that root again.
    this.#keepRoot(berth);
    for (const lease of [berth.lease, berth.incoming]) if (lease !== undefined) this.#keepLease(lease, berth);
  }

  /** Stores the sockets that the broker has bound for itself. */
  keepOwn(sockets: readonly NamedSocket[]): void {
    this.#own.push(...sockets);
    for (const { name, socket } of sockets) this.#keepSocket(socket, name);
  }

  /** As {@link keep} for all berths. Logs what is still not stored only if that is new. */
  keepAll(): void {
    this.#lack = undefined;
    for (const { name, socket } of this.#own) this.#keepSocket(socket, name);
    for (const berth of this.#options.berths.all()) this.keep(berth);
    if (this.#lack === undefined) this.#said = undefined;
  }

  /**
   * Stores the descriptor on which a server's binds are reported (borrowed), and a memfd that records the call being
   * answered. The caller owns the memfd. Undefined when they could not be stored.
   */
  keepBinds(berth: string, lease: string, notify: number): { storedCopy: StoredCopy; record: FdHandle } | undefined {
    const { sys } = this.#options;
    const name = leaseName("binds", { berth, lease });
    const record = bindRecord(sys);
    if (this.#store(name, [notify, record.fd])) return { storedCopy: this.#storedCopy(name), record };
    record.close();
    return undefined;
  }

  /** Counts a descriptor that came from the store, where it still is. */
  count(name: string): void {
    this.#options.store.recall(name);
  }

  /** Whether the store has it. */
  holds(name: string): boolean {
    return this.#options.store.has(name);
  }

  /** The copy of something that came from the store under this name. */
  recall(name: string, fd?: number): StoredCopy {
    return this.#storedCopy(name, fd === undefined ? undefined : fileOf(fd, this.#options.sys));
  }

  /** As {@link recall} for a lease. Owns the page of its facts. */
  recallLease(lease: Lease, name: string, record: FdHandle): void {
    this.#records.set(lease, record);
    lease.storedCopy = this.#leaseCopy(lease, name);
  }

  /** Makes later serials higher than that of a stash from the store. */
  recallSerial(serial: number): void {
    this.#serial = Math.max(this.#serial, serial);
  }

  /** Removes from the store what no berth uses any more. */
  forget(name: string): void {
    this.#options.store.remove(name);
  }

  /** As {@link awaitRemovals}. */
  awaitRemovals(): void {
    awaitRemovals(this.#options.store, this.#options.log);
  }

  /** Stores and removes nothing from now on: the store is for the next broker. Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  /** Forgets every copy: the takeover failed, and this broker keeps everything. */
  abandon(): void {
    this.close();
    for (const record of this.#records.values()) record.close();
    this.#records.clear();
    for (const { socket } of this.#own) socket.storedCopy = undefined;
    for (const berth of this.#options.berths.all()) {
      for (const { socket } of berth.sockets) socket.storedCopy = undefined;
      berth.aside = berth.aside.map(withoutCopy);
      for (const stashed of berth.stash.values()) delete stashed.storedCopy;
      for (const lease of [berth.lease, berth.incoming]) if (lease !== undefined) lease.storedCopy = undefined;
      berth.rootCopy = undefined;
    }
  }

  /** Without a berth: a socket of the broker itself. */
  #keepSocket(socket: HeldSocket, name: string, berth?: string): void {
    if (socket.storedCopy !== undefined) return;
    const { identity, fd } = socket;
    const stored = socketName({ socket: name, ...(berth !== undefined && { berth }), ...identity });
    if (this.#store(stored, [fd])) socket.storedCopy = this.#storedCopy(stored, fileOf(fd, this.#options.sys));
  }

  /** A socket that has no place now. It has its name of the earlier broker. */
  #keepPassed(passed: PassedSocket): PassedSocket {
    const { name, handle, storedCopy } = passed;
    if (storedCopy !== undefined || !this.#store(name, [handle.fd])) return passed;
    return { ...passed, storedCopy: this.#storedCopy(name, fileOf(handle.fd, this.#options.sys)) };
  }

  #keepStash(stashed: Stashed, berth: string): void {
    if (stashed.storedCopy !== undefined) return;
    const { name, lease, uid, handle } = stashed;
    const file = fileOf(handle.fd, this.#options.sys);
    const packed = file === undefined || this.#files.has(file);
    const facts: StoredStash = { berth, name, lease, uid, serial: ++this.#serial, packed };
    const stored = stashName(facts);
    if (!this.#stashes.hasRoom(stored)) return this.#lacks("full", stored);
    using wrapper = packed ? wrapFd(handle.fd, this.#options.sys) : undefined;
    if (this.#store(stored, [(wrapper ?? handle).fd])) stashed.storedCopy = this.#storedCopy(stored, file);
  }

  #keepRoot(berth: Berth): void {
    const { root } = berth;
    if (root === undefined || berth.rootCopy !== undefined) return;
    using record = FdHandle.adopt(check("memfd_create", this.#options.sys.memfd("berth-root")), this.#options.sys);
    const facts = encodeRootFacts(root.facts);
    writeSync(record.fd, facts, 0, facts.length, 0);
    const name = rootName({ berth: berth.name });
    if (this.#store(name, [root.fd, record.fd])) berth.rootCopy = this.#storedCopy(name);
  }

  #keepLease(lease: Lease, berth: Berth): void {
    const { pidfd, tenant, ready, since, drain } = lease;
    if (pidfd === undefined) return;
    const page = encodeLeaseFacts({ ...tenant, since, ready, incoming: lease === berth.incoming, drain });
    const known = this.#records.get(lease);
    if (known !== undefined) return writePage(known, page);
    using own = this.#anotherOf(pidfd, tenant.pid);
    const record = FdHandle.adopt(check("memfd_create", this.#options.sys.memfd("berth-lease")), this.#options.sys);
    writePage(record, page);
    const name = leaseName("lease", { berth: berth.name, lease: lease.id });
    if (!this.#store(name, [own.fd, record.fd])) return record.close();
    this.recallLease(lease, name, record);
  }

  /** Another pidfd of the process. Leases can share one, and systemd keeps one descriptor of an open file. */
  #anotherOf(pidfd: number, pid: number): FdHandle {
    const { sys } = this.#options;
    const opened = sys.pidfdOpen(pid);
    const another = opened < 0 ? undefined : FdHandle.adopt(opened, sys);
    // The number is its own if it lives after that.
    if (another !== undefined && sys.pollNow(pidfd, POLLIN) === 0) return another;
    another?.close();
    return FdHandle.adopt(check("fcntl F_DUPFD_CLOEXEC", sys.dup(pidfd)), sys);
  }

  #leaseCopy(lease: Lease, name: string): StoredCopy {
    const storedCopy = this.#storedCopy(name);
    const forget = (how: "drop" | "dropNow") => (): void => {
      storedCopy[how]();
      this.#records.get(lease)?.close();
      this.#records.delete(lease);
    };
    return { drop: forget("drop"), dropNow: forget("dropNow") };
  }

  #storedCopy(name: string, file?: string): StoredCopy {
    if (file !== undefined) this.#files.set(file, (this.#files.get(file) ?? 0) + 1);
    if (isStash(name)) this.#stashes.add(name);
    const drop = (): void => {
      if (this.#closed) return;
      this.#options.store.remove(name);
      if (file !== undefined) this.#unfile(file);
      if (isStash(name)) this.#stashes.remove(name);
      if (this.#lack === "full") setImmediate(() => this.keepAll());
    };
    const dropNow = (): void => {
      drop();
      this.awaitRemovals();
    };
    return { drop, dropNow };
  }

  #unfile(file: string): void {
    const left = (this.#files.get(file) ?? 0) - 1;
    if (left > 0) this.#files.set(file, left);
    else this.#files.delete(file);
  }

  #store(name: string, fds: readonly number[]): boolean {
    if (this.#closed || this.#retry !== undefined) return false;
    const why = this.#options.store.add(name, fds);
    if (why === undefined) return true;
    this.#lacks(why, name);
    return false;
  }

  #lacks(why: NotStored, name: string): void {
    this.#lack = why;
    if (why !== this.#said) this.#say(why, name);
    this.#said = why;
    // Each call would wait for a manager that does not read.
    if (why === "unreachable" && this.#retry === undefined) {
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.keepAll();
      }, RETRY_MS).unref();
    }
  }

  #say(why: NotStored, name: string): void {
    const { store, log, berths } = this.#options;
    const lost = `${name} and what comes after it are lost when the broker ends`;
    const message =
      why === "unreachable"
        ? `the service manager takes no descriptors, so ${lost}; the broker tries again`
        : `the service manager keeps ${store.max} descriptors and no more, so ${lost}: ${storeAdvice(berths.all())}`;
    log("error", message, { event: "not-stored", name, stored: store.count, max: store.max });
  }
}

/** Waits until the service manager has closed what was removed from its store: then the addresses are free. */
export function awaitRemovals(store: DescriptorStore, log: Log): void {
  if (store.settle()) return;
  log("warning", "the service manager does not close the descriptors it was told to remove", { event: "not-stored" });
}

function isStash(name: string): boolean {
  return name.startsWith("stash.");
}

function writePage(memfd: FdHandle, page: Buffer): void {
  writeSync(memfd.fd, page, 0, page.length, 0);
}
