/**
 * Gets sockets and leases of a broker that has exited back from the tenants. The ledger names the tenants and their
 * sockets; pidfd_getfd(2) duplicates these out of the tenant. Everything is returned as a service manager's store would
 * pass it. A process or a socket that is not exactly the recorded one is left alone.
 */
import { writeSync } from "node:fs";
import { constants } from "node:os";
import { check, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { POLLIN, SO_TYPE, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketOption } from "../../net/socket-queries.ts";
import type { PassedFd } from "../../systemd/activation.ts";
import { encodeLeaseFacts } from "../record/lease-facts.ts";
import { processIdentity } from "../record/process-identity.ts";
import { leaseName, parseStoredName } from "../record/stored-name.ts";
import { socketsOf } from "../sockets/holders/process-sockets.ts";
import { socketInode } from "../sockets/passed-socket.ts";
import type { LedgerEntry } from "./ledger.ts";
import type { Patience } from "./patience.ts";

const { EBADF, ESRCH } = constants.errno;

export interface ReclaimOptions {
  readonly sys: Native;
  readonly log: Log;
  /** Leases that the store has as well. Restoring them from there logs their end. */
  readonly stored: ReadonlySet<string>;
  readonly patience: Patience;
}

/**
 * The descriptors of all leases whose tenants live; the caller owns them. A lease that fails is logged; others go on.
 */
export function reclaimAll(entries: readonly LedgerEntry[], options: ReclaimOptions): PassedFd[] {
  return entries.flatMap((entry) => {
    try {
      return reclaim(entry, options);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const { berth, facts } = entry;
      const message = `berth ${berth}: the lease of pid ${facts.pid} could not be restored: ${error.message}`;
      options.log("error", message, { event: "not-reclaimed", berth, pid: facts.pid });
      return [];
    }
  });
}

/** Empty when the tenant has exited. Throws SYSTEM_ERROR when no descriptors are free. */
function reclaim(entry: LedgerEntry, options: ReclaimOptions): PassedFd[] {
  const { berth, lease, facts } = entry;
  const { sys } = options;
  const found = sys.pidfdOpen(facts.pid);
  if (found === -ESRCH) return tellExited(entry, options);
  using tenant = FdHandle.adopt(check("pidfd_open", found), sys);
  // In this order: if the process of the pidfd still lives after its number was looked at, the number was its own.
  const identity = processIdentity(facts.pid, tenant.fd);
  if (identity !== entry.process || sys.pollNow(tenant.fd, POLLIN) !== 0) return tellExited(entry, options);
  using page = FdHandle.adopt(check("memfd_create", sys.memfd("berth-lease")), sys);
  writeSync(page.fd, encodeLeaseFacts(facts), 0, undefined, 0);
  const name = leaseName("lease", { berth, lease });
  const sockets = reclaimSockets(entry, tenant.fd, options);
  return [...sockets, { name, handle: tenant.move() }, { name, handle: page.move() }];
}

/** Those of its berth's sockets that the tenant still has. */
function reclaimSockets(entry: LedgerEntry, tenant: number, options: ReclaimOptions): PassedFd[] {
  const { log } = options;
  const { pid } = entry.facts;
  const wanted = new Map<bigint, { name: string; inode: bigint }>();
  for (const name of entry.sockets) {
    const is = parseStoredName(name);
    if (is?.kind === "socket") wanted.set(is.inode, { name, inode: is.inode });
  }
  const taken: PassedFd[] = [];
  try {
    for (const [number, inode] of options.patience.spend((milliseconds) => socketsOf(pid, milliseconds))) {
      const socket = wanted.get(inode);
      if (socket === undefined) continue;
      const handle = duplicateSocket(tenant, number, socket.inode, options);
      if (handle === undefined) continue;
      wanted.delete(inode);
      taken.push({ name: socket.name, handle });
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const code = error instanceof SysError ? error.errnoName : "code" in error ? error.code : undefined;
    const remedy =
      code === "EPERM" || code === "EACCES"
        ? ": run the broker as root, or as its user with kernel.yama.ptrace_scope=0"
        : "";
    const message = `pid ${pid} has sockets that cannot be duplicated from it (${error.message})${remedy}`;
    log("warning", `berth ${entry.berth}: ${message}`, { event: "not-reclaimed", berth: entry.berth, pid });
  }
  return taken;
}

/** The tenant's descriptor, if it is still that socket. The tenant may have put another file in its place. */
export function duplicateSocket(
  tenant: number,
  number: number,
  inode: bigint,
  { sys, patience }: Pick<ReclaimOptions, "sys" | "patience">,
): FdHandle | undefined {
  const fd = patience.spend((milliseconds) => sys.pidfdGetfd(tenant, number, milliseconds));
  if (fd === -EBADF) return undefined;
  // If it is not a socket, any other call may wait for its file system, and so may close(2).
  const handle = FdHandle.adoptForeign(check("pidfd_getfd", fd), sys);
  const isSocket = socketOption(handle.fd, SOL_SOCKET, SO_TYPE, sys) >= 0;
  if (isSocket && socketInode(handle.fd) === inode) return handle;
  handle.close();
  return undefined;
}

function tellExited({ berth, lease, facts: { pid } }: LedgerEntry, { log, stored }: ReclaimOptions): [] {
  if (stored.has(lease)) return [];
  log("notice", `berth ${berth}: pid ${pid} no longer has it: it exited while no broker was running`, {
    event: "released",
    berth,
    lease,
    pid,
  });
  return [];
}
