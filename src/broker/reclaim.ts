/**
 * Sockets and leases of a broker that is gone, taken back from the tenants themselves: what it wrote down (ledger.ts) says
 * who they are and which sockets were theirs, and pidfd_getfd(2) duplicates those out of them. Everything comes as a
 * service manager's store would pass it. What is not the very process, or not the very socket, is left alone.
 */
import { readdirSync, readlinkSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { check, SysError } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import { POLLIN } from "../socket-constants.ts";
import type { PassedFd } from "../systemd/activation.ts";
import { encodeLeaseFacts } from "./lease-facts.ts";
import type { LedgerEntry } from "./ledger.ts";
import type { Log } from "./log.ts";
import { socketInode } from "./offered-socket.ts";
import { processIdentity } from "./process-identity.ts";
import { leaseName, parseStoredName } from "./stored-name.ts";

const { EBADF } = constants.errno;

export interface ReclaimOptions {
  readonly sys: Native;
  readonly log: Log;
}

/** The descriptors of one lease, the caller's; none when its tenant has exited. */
export function reclaim(entry: LedgerEntry, { sys, log }: ReclaimOptions): PassedFd[] {
  const { berth, lease, facts } = entry;
  const { pid } = facts;
  const pidfd = sys.pidfdOpen(pid);
  if (pidfd < 0) {
    tellExited(entry, log);
    return [];
  }
  const tenant = FdHandle.adopt(pidfd, sys);
  // In this order: whoever had the number when it was looked at is who the pidfd is of, if that one lives afterwards.
  const identity = processIdentity(pid, tenant.fd);
  if (identity !== entry.process || sys.pollNow(tenant.fd, POLLIN) !== 0) {
    tenant.close();
    tellExited(entry, log);
    return [];
  }
  const name = leaseName("lease", { berth, lease });
  const page = FdHandle.adopt(check("memfd_create", sys.memfd("berth-lease")), sys);
  writeSync(page.fd, encodeLeaseFacts(facts), 0, undefined, 0);
  return [...reclaimSockets(entry, tenant.fd, { sys, log }), { name, handle: tenant }, { name, handle: page }];
}

/** Those of its berth's sockets that the tenant still has. */
function reclaimSockets(entry: LedgerEntry, tenant: number, { sys, log }: ReclaimOptions): PassedFd[] {
  const { pid } = entry.facts;
  const wanted = new Map<string, { name: string; inode: bigint }>();
  for (const name of entry.sockets) {
    const is = parseStoredName(name);
    if (is?.kind === "socket") wanted.set(`socket:[${is.inode}]`, { name, inode: is.inode });
  }
  const taken: PassedFd[] = [];
  try {
    for (const number of readdirSync(`/proc/${pid}/fd`)) {
      const link = linkOf(`/proc/${pid}/fd/${number}`);
      const socket = wanted.get(link);
      if (socket === undefined) continue;
      const fd = sys.pidfdGetfd(tenant, Number(number));
      if (fd === -EBADF) continue; // closed since
      const handle = FdHandle.adopt(check("pidfd_getfd", fd), sys);
      // It may be another by now.
      if (socketInode(handle.fd) !== socket.inode) {
        handle.close();
        continue;
      }
      wanted.delete(link);
      taken.push({ name: socket.name, handle });
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const why = error instanceof SysError ? error.errnoName : error.message;
    log(
      "warning",
      `berth ${entry.berth}: pid ${pid} has sockets that cannot be taken back from it (${why}): run the broker as root, or as its user with kernel.yama.ptrace_scope=0`,
      { event: "not-reclaimed", berth: entry.berth, pid },
    );
  }
  return taken;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed since
  }
}

function tellExited({ berth, lease, facts: { pid } }: LedgerEntry, log: Log): void {
  log("notice", `berth ${berth}: free of pid ${pid}, for it has exited while there was no broker`, {
    event: "released",
    berth,
    lease,
    pid,
  });
}
