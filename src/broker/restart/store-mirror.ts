/**
 * What outlives the broker: a copy of everything it holds, in the service manager's store, or in what goes to a broker
 * that takes over. A copy is made before anybody is told of the thing, so that a broker which is killed at any instant
 * loses nothing that somebody relies on; it goes when the thing goes. Taking it back is take-back.ts. Where there is no
 * store, nothing of this is used but for a takeover.
 */
import { writeSync } from "node:fs";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { DescriptorStore, NotStored } from "../../systemd/fd-store.ts";
import type { Berth } from "../berths/berth.ts";
import type { Berths } from "../berths/berths.ts";
import type { Lease } from "../berths/lease.ts";
import { fileOf, type Stashed } from "../berths/stash.ts";
import { bindRecord } from "../bind/bind-reports.ts";
import type { BindStore } from "../bind/bind-store.ts";
import { encodeLeaseFacts } from "../record/lease-facts.ts";
import { encodeRootFacts } from "../record/root-facts.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { leaseName, rootName, type StoredStash, socketName, stashName } from "../record/stored-name.ts";
import { wrapFd } from "../record/wrapped-fd.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";

/** How long the manager is left alone when it does not take messages, in milliseconds. */
const PAUSE = 10_000;

export interface StoreMirrorOptions {
  readonly store: DescriptorStore;
  readonly sys: Native;
  readonly log: Log;
  /** Stored again and again until everything is: some may not have been at first. */
  readonly berths: Pick<Berths, "list">;
}

export class StoreMirror implements BindStore {
  readonly #options: StoreMirrorOptions;
  /** Sockets that the broker has bound for itself. */
  readonly #own: NamedSocket[] = [];
  readonly #records = new Map<Lease, FdHandle>();
  /** How many stored descriptors are of which file: a second one must be packed, and one of which that is not known. */
  readonly #files = new Map<string, number>();
  #serial = 0;
  #closed = false;
  /** Why something is not stored, and what of that was said. */
  #lack: NotStored | undefined;
  #said: NotStored | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: StoreMirrorOptions) {
    this.#options = options;
  }

  /** Stores what the berth has that is not stored yet, and writes down what has changed of its leases. */
  keep(berth: Berth): void {
    for (const { name, socket } of berth.sockets) this.#keepSocket(socket, name, berth.name);
    for (const stashed of berth.stash.values()) this.#keepStash(stashed, berth.name);
    // Before the lease: whoever comes back to a lease without its root could not have it built again.
    this.#keepRoot(berth);
    for (const lease of [berth.lease, berth.incoming]) if (lease !== undefined) this.#keepLease(lease, berth);
  }

  /** Stores the sockets that the broker has bound for itself. */
  keepOwn(sockets: readonly NamedSocket[]): void {
    this.#own.push(...sockets);
    for (const { name, socket } of sockets) this.#keepSocket(socket, name);
  }

  /** As {@link keep} of all berths; says what is still missing only if it was not said before. */
  keepAll(): void {
    this.#lack = undefined;
    for (const { name, socket } of this.#own) this.#keepSocket(socket, name);
    for (const berth of this.#options.berths.list()) this.keep(berth);
    if (this.#lack === undefined) this.#said = undefined;
  }

  /**
   * The descriptor on which a server's binds are reported, borrowed, and with it a memfd for the call that is being
   * answered, the caller's. Undefined when they could not be stored.
   */
  keepBinds(berth: string, lease: string, notify: number): { storedCopy: StoredCopy; record: FdHandle } | undefined {
    const { sys } = this.#options;
    const name = leaseName("binds", { berth, lease });
    const record = bindRecord(sys);
    if (this.#store(name, [notify, record.fd])) return { storedCopy: this.#storedCopy(name), record };
    record.close();
    return undefined;
  }

  /** A descriptor came from the store, and is there still. */
  count(name: string): void {
    this.#options.store.recall(name);
  }

  /** Whether the store has it. */
  holds(name: string): boolean {
    return this.#options.store.has(name);
  }

  /** The copy of something that came from the store under this name. */
  recall(name: string, fd?: number): StoredCopy {
    return this.#storedCopy(name, fd === undefined ? undefined : fileOf(fd));
  }

  /** As {@link recall} of a lease, with the page of its facts, which is taken over. */
  recallLease(lease: Lease, name: string, record: FdHandle): void {
    this.#records.set(lease, record);
    lease.storedCopy = this.#leaseCopy(lease, name);
  }

  /** The serial of a stash that came from the store: later ones go on from there. */
  recallSerial(serial: number): void {
    this.#serial = Math.max(this.#serial, serial);
  }

  /** Removes from the store what nobody wants any more. */
  forget(name: string): void {
    this.#options.store.remove(name);
  }

  /** As {@link settleStore}. */
  settle(): void {
    settleStore(this.#options.store, this.#options.log);
  }

  /** From now on nothing is stored or dropped any more: the store is for the next broker. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  /** Nothing of it outlives the broker after all: all is as if it had never been stored. */
  abandon(): void {
    this.close();
    for (const record of this.#records.values()) record.close();
    this.#records.clear();
    for (const { socket } of this.#own) socket.storedCopy = undefined;
    for (const berth of this.#options.berths.list()) {
      for (const { socket } of berth.sockets) socket.storedCopy = undefined;
      for (const stashed of berth.stash.values()) delete stashed.storedCopy;
      for (const lease of [berth.lease, berth.incoming]) if (lease !== undefined) lease.storedCopy = undefined;
      berth.rootCopy = undefined;
    }
  }

  /** Without a berth, one of the broker's own. */
  #keepSocket(socket: HeldSocket, name: string, berth?: string): void {
    if (socket.storedCopy !== undefined) return;
    const { identity, fd } = socket;
    const stored = socketName({ socket: name, ...(berth !== undefined && { berth }), ...identity });
    if (this.#store(stored, [fd])) socket.storedCopy = this.#storedCopy(stored, fileOf(fd));
  }

  #keepStash(stashed: Stashed, berth: string): void {
    if (stashed.storedCopy !== undefined) return;
    const { name, lease, uid, handle } = stashed;
    const file = fileOf(handle.fd);
    const packed = file === undefined || this.#files.has(file);
    const facts: StoredStash = { berth, name, lease, uid, serial: ++this.#serial, packed };
    using carrier = packed ? wrapFd(handle.fd, this.#options.sys) : undefined;
    const stored = stashName(facts);
    if (this.#store(stored, [(carrier ?? handle).fd])) stashed.storedCopy = this.#storedCopy(stored, file);
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
    const { pidfd, tenant, ready } = lease;
    if (pidfd === undefined) return;
    const page = encodeLeaseFacts({ ...tenant, ready, incoming: lease === berth.incoming });
    const known = this.#records.get(lease);
    if (known !== undefined) return writePage(known, page);
    const record = FdHandle.adopt(check("memfd_create", this.#options.sys.memfd("berth-lease")), this.#options.sys);
    writePage(record, page);
    const name = leaseName("lease", { berth: berth.name, lease: lease.id });
    if (!this.#store(name, [pidfd, record.fd])) return record.close();
    this.recallLease(lease, name, record);
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
    const drop = (): void => {
      if (this.#closed) return;
      this.#options.store.remove(name);
      if (file !== undefined) this.#unfile(file);
      if (this.#lack === "full") setImmediate(() => this.keepAll());
    };
    const dropNow = (): void => {
      drop();
      this.settle();
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
    this.#lack = why;
    if (why !== this.#said) this.#say(why, name);
    this.#said = why;
    // A manager that does not listen would make every call wait.
    if (why === "unreachable" && this.#retry === undefined) {
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.keepAll();
      }, PAUSE).unref();
    }
    return false;
  }

  #say(why: NotStored, name: string): void {
    const { store, log, berths } = this.#options;
    const lost = `${name} and what comes after it do not outlive the broker`;
    const message =
      why === "unreachable"
        ? `the service manager takes no descriptors, so ${lost}; it is tried again`
        : `the service manager keeps ${store.max} descriptors and no more, so ${lost}: ${advice(berths.list())}`;
    log("error", message, { event: "not-stored", name, stored: store.count, max: store.max });
  }
}

/** Waits until the service manager has closed what was removed from its store: then the addresses are free. */
export function settleStore(store: DescriptorStore, log: Log): void {
  if (store.settle()) return;
  log("warning", "the service manager does not close the descriptors it was told to remove", { event: "not-stored" });
}

/** How many descriptors the berths may have stored at once: every socket, and what a lease, a handover and a root add. */
function storeNeed(berths: Iterable<Berth>): number {
  let need = 1; // the control socket
  for (const { spec, sockets, stash } of berths)
    need += sockets.length + stash.size + 2 * (spec.server.deliver.includes("bind") ? 4 : 2) + (spec.root ? 2 : 0);
  return need;
}

/** The line to write into the unit. What tenants stash comes on top of what is known, so it is half as much again. */
function advice(berths: Iterable<Berth>): string {
  return `set FileDescriptorStoreMax=${Math.ceil((storeNeed(berths) * 1.5) / 64) * 64} in its unit`;
}

function writePage(memfd: FdHandle, page: Buffer): void {
  writeSync(memfd.fd, page, 0, page.length, 0);
}
