/**
 * Puts what an earlier broker left in the store, or handed over, back in its place: sockets, leases of tenants that
 * still live, stashes, roots, and the servers whose binds wait for an answer. What no configured berth uses is closed,
 * removed from the store, and logged.
 */
import { fstatSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { POLLHUP, POLLIN } from "../../net/socket-constants.ts";
import type { PassedFd } from "../../systemd/activation.ts";
import type { Berths } from "../berths/berths.ts";
import { isNotifyDescriptor } from "../bind/interception.ts";
import type { Interceptions } from "../bind/interceptions.ts";
import { decodeLeaseFacts, type LeaseFacts, RECORD_SIZE } from "../record/lease-facts.ts";
import { decodeRootFacts } from "../record/root-facts.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { parseStoredName, type StoredLease, type StoredName } from "../record/stored-name.ts";
import { unwrapFd } from "../record/wrapped-fd.ts";
import { SocketTables } from "../sockets/holders/socket-holders.ts";
import { type PassedSocket, passedSocket, socketInode } from "../sockets/passed-socket.ts";
import type { StoreMirror } from "./store-mirror.ts";

/** An inherited descriptor, with its name in the store. */
interface Inherited<Name> {
  readonly stored: string;
  readonly is: Name;
  readonly handle: FdHandle;
}

type NameOf<Kind> = Extract<StoredName, { kind: Kind }>;

/** The descriptors that were passed to this process, by what they are. */
export interface InheritedFds {
  /** From the store or from .socket units; the control socket may be among them. */
  readonly sockets: PassedSocket[];
  readonly leases: Inherited<NameOf<"lease">>[];
  readonly stashes: Inherited<NameOf<"stash">>[];
  readonly binds: Inherited<NameOf<"binds">>[];
  readonly roots: Inherited<NameOf<"root">>[];
  /** Only from a predecessor: the files it had locked, and channels to its bind fallback. */
  readonly locks: FdHandle[];
  readonly fallbacks: FdHandle[];
}

/** Nothing was inherited. */
export function noInheritedFds(): InheritedFds {
  return { sockets: [], leases: [], stashes: [], binds: [], roots: [], locks: [], fallbacks: [] };
}

/** Closes all of it after a failed start. The copies in the store are for the next broker. */
export function closeInherited({ sockets, leases, stashes, binds, roots, locks, fallbacks }: InheritedFds): void {
  closeAll([...sockets, ...leases, ...stashes, ...binds, ...roots].map(({ handle }) => handle));
  closeAll([...locks, ...fallbacks]);
}

/** `first`, and of `more` what `first` does not have: the rest of `more` is closed. */
export function joinInherited(first: InheritedFds, more: InheritedFds): InheritedFds {
  const leases = [...first.leases];
  const known = new Set(leases.map(({ stored }) => stored));
  for (const lease of more.leases) known.has(lease.stored) ? lease.handle.close() : leases.push(lease);
  const sockets = [...first.sockets];
  const inodes = new Set(sockets.map(({ handle }) => socketInode(handle.fd)));
  for (const offer of more.sockets) {
    const inode = socketInode(offer.handle.fd);
    inodes.has(inode) ? offer.handle.close() : sockets.push(offer);
    inodes.add(inode);
  }
  return { ...first, leases, sockets };
}

/** Sorts what was passed by kind, and owns it. `lent` marks sockets that a predecessor has too. */
export function sortInherited(
  passed: readonly PassedFd[],
  mirror: StoreMirror | undefined,
  sys: Native,
  lent?: StoredCopy,
): InheritedFds {
  const sorted = noInheritedFds();
  const tables = new SocketTables();
  for (const { name, handle } of passed) {
    const is = parseStoredName(name);
    if (is !== undefined) mirror?.count(name);
    // A newer broker may hand over kinds that this one does not know.
    if (is === undefined && lent !== undefined) handle.close();
    else if (is === undefined) sorted.sockets.push(passedSocket(name, handle, sys, { tables }));
    else if (is.kind === "socket") {
      const storedCopy = mirror?.recall(name, handle.fd) ?? lent;
      sorted.sockets.push(
        passedSocket(name, handle, sys, { tables, stored: is, ...(storedCopy !== undefined && { storedCopy }) }),
      );
    } else if (is.kind === "lease") sorted.leases.push({ stored: name, is, handle });
    else if (is.kind === "stash") sorted.stashes.push({ stored: name, is, handle });
    else if (is.kind === "root") sorted.roots.push({ stored: name, is, handle });
    else if (is.kind === "lock") sorted.locks.push(handle);
    else if (is.kind === "fallback") sorted.fallbacks.push(handle);
    else sorted.binds.push({ stored: name, is, handle });
  }
  return sorted;
}

export interface RestoreContext {
  readonly berths: Berths;
  readonly interceptions: Interceptions;
  /** Absent where there is no store now; what was inherited is restored all the same. */
  readonly mirror: StoreMirror | undefined;
  readonly sys: Native;
  readonly log: Log;
}

/** Restores leases, roots and stashes. The berths must have their sockets already. */
export function restore(passed: InheritedFds, context: RestoreContext): void {
  const { berths, log } = context;
  restoreLeases(passed, context);
  restoreRoots(passed.roots, context);
  for (const stash of passed.stashes) restoreStash(stash, context);
  berths.settleAbsent();
  const { length } = passed.sockets.filter(({ stored }) => stored !== undefined);
  if (length + passed.leases.length + passed.stashes.length === 0) return;
  const leases = berths.all().filter(({ lease }) => lease !== undefined).length;
  log("info", `restored from an earlier broker: ${length} sockets; ${leases} berths still have their tenants`, {
    event: "taken-back",
    sockets: length,
    leases,
    stashes: passed.stashes.length,
    binds: passed.binds.length,
  });
}

/** Names of the berths that have a living tenant. */
export function tenanted({ leases }: Pick<InheritedFds, "leases">, sys: Native): Set<string> {
  const living = leases.filter(({ handle }) => isPidfd(handle) && sys.pollNow(handle.fd, POLLIN) === 0);
  return new Set(living.map(({ is }) => is.berth));
}

/** By name: a lease, a root and the binds of a server are two descriptors each, of which one is a memfd. */
function pairs<Name>(
  inherited: readonly Inherited<Name>[],
): Map<string, { is: Name; page?: FdHandle; other?: FdHandle }> {
  const byName = new Map<string, { is: Name; page?: FdHandle; other?: FdHandle }>();
  for (const { stored, is, handle } of inherited) {
    const pair = byName.get(stored) ?? { is };
    const part = fstatSync(handle.fd).isFile() ? "page" : "other";
    pair[part]?.close();
    pair[part] = handle;
    byName.set(stored, pair);
  }
  return byName;
}

/** A lease is its tenant's pidfd and the page of its facts. */
function restoreLeases(inherited: Pick<InheritedFds, "leases" | "binds">, context: RestoreContext): void {
  const whole = [...pairs(inherited.leases)].map(([stored, { is, page, other }]) => {
    const pidfd = other !== undefined && isPidfd(other) ? other : undefined;
    return { stored, is, page, other, pidfd, facts: readFacts(page) };
  });
  // The present tenant first: only then is a second tenant a newcomer.
  whole.sort((a, b) => Number(a.facts?.incoming ?? false) - Number(b.facts?.incoming ?? false));
  for (const { stored, is, page, other, pidfd, facts } of whole) {
    const isServed = inherited.binds.some(
      (binds) => binds.is.lease === is.lease && isWatched(binds.handle, context.sys),
    );
    const lease = facts && pidfd && restoreLease(is, pidfd, facts, isServed, context);
    if (lease !== undefined && page !== undefined && context.mirror?.holds(stored)) {
      context.mirror.recallLease(lease, stored, page);
      continue;
    }
    page?.close();
    if (lease !== undefined) continue;
    other?.close();
    context.mirror?.forget(stored);
  }
}

/** `isServed`: processes of its server live, whether or not its main process does. */
function restoreLease(
  is: StoredLease,
  pidfd: FdHandle,
  facts: LeaseFacts,
  isServed: boolean,
  { berths, sys, log }: RestoreContext,
) {
  const isFree = (why: string): undefined => {
    log("notice", `berth ${is.berth}: pid ${facts.pid} no longer has it: ${why}`, {
      event: "released",
      berth: is.berth,
      lease: is.lease,
      pid: facts.pid,
    });
  };
  // Its number in our PID namespace, which may differ from the earlier broker's.
  const pid = pidOf(pidfd);
  const isAlive = pid !== undefined && sys.pollNow(pidfd.fd, POLLIN) === 0;
  const goesOn = (isServed || facts.cgroup !== undefined) && berths.known(is.berth)?.spec.server.lease === "server";
  if (!isAlive && !goesOn) return isFree("it exited while no broker was running");
  return (
    berths.restore(is.berth, is.lease, pidfd, { ...facts, pid: pid ?? facts.pid }) ??
    isFree("the berth is no longer configured")
  );
}

function restoreStash({ stored, is, handle }: InheritedFds["stashes"][number], context: RestoreContext): void {
  const { berths, mirror, sys, log } = context;
  mirror?.recallSerial(is.serial);
  const found = is.packed ? unwrapFd(handle, sys) : handle;
  if (is.packed) handle.close();
  const berth = berths.known(is.berth);
  const stashed = found && berth && berths.stashes.restore(berth, is, found);
  if (stashed !== undefined) {
    if (mirror !== undefined) stashed.storedCopy = mirror.recall(stored, stashed.handle.fd);
    return;
  }
  found?.close();
  mirror?.forget(stored);
  log(
    "notice",
    `berth ${is.berth}: the stashed ${is.name} was closed: the berth has no place for it any more, or it may not be kept`,
    {
      event: "declined",
      name: stored,
    },
  );
}

/** After the leases: a root belongs to its tenants. */
function restoreRoots(inherited: InheritedFds["roots"], { berths, mirror }: RestoreContext): void {
  for (const [stored, { is, page, other: mount }] of pairs(inherited)) {
    const facts = page && decodeRootFacts(contentsOf(page));
    const berth = mount && facts && berths.restoreRoot(is.berth, mount, facts);
    page?.close();
    if (berth === undefined) {
      mount?.close();
      mirror?.forget(stored);
    } else if (mirror !== undefined) berth.rootCopy = mirror.recall(stored);
  }
}

/** Answers the binds that an earlier broker answered. Only once that broker has stopped: a call is received once. */
export function restoreBinds(
  { binds, fallbacks }: Pick<InheritedFds, "binds" | "fallbacks">,
  context: RestoreContext,
): void {
  const { interceptions, mirror, log } = context;
  const [fallback, ...others] = fallbacks;
  if (binds.length > 0 && fallback !== undefined) interceptions.adoptFallback(fallback);
  else fallback?.close();
  closeAll(others);
  for (const [stored, { is, page: record, other: notify }] of pairs(binds)) {
    if (notify === undefined || !isNotifyDescriptor(notify.fd)) {
      closeAll([record, notify].filter((handle) => handle !== undefined));
      mirror?.forget(stored);
      continue;
    }
    const storedCopy = mirror?.recall(stored);
    const isKept = fallback !== undefined && record !== undefined;
    try {
      interceptions.restore(is.berth, is.lease, { notify, record, storedCopy, isKept });
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      log("error", `berth ${is.berth}: the broker cannot answer the binds of its server: ${error.message}`, {
        event: "deserted",
        berth: is.berth,
        lease: is.lease,
      });
    }
  }
}

/** Whether it is a seccomp listener whose filter a process has. */
function isWatched({ fd }: FdHandle, sys: Native): boolean {
  return isNotifyDescriptor(fd) && (sys.pollNow(fd, POLLHUP) & POLLHUP) === 0;
}

function isPidfd({ fd }: FdHandle): boolean {
  return /^(anon_inode:\[pidfd\]|pidfd:)/.test(readlinkSync(`/proc/self/fd/${fd}`));
}

/** proc_pid_fdinfo(5): -1 when the process was reaped, 0 when it has no number in this namespace. */
function pidOf({ fd }: FdHandle): number | undefined {
  const pid = Number(/^Pid:\s*(-?\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? -1);
  return pid > 0 ? pid : undefined;
}

function readFacts(record: FdHandle | undefined): LeaseFacts | undefined {
  if (record === undefined) return undefined;
  const page = Buffer.alloc(RECORD_SIZE);
  readSync(record.fd, page, 0, page.length, 0);
  return decodeLeaseFacts(page);
}

/** All of a memfd, read from offset 0: its own offset is shared with the copy in the store. */
function contentsOf({ fd }: FdHandle): Buffer {
  const contents = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, contents, 0, contents.length, 0);
  return contents;
}
