/**
 * Ends a tenant that makes the kernel hold its socket's lock: nothing but its end frees that. It ends the process that
 * had the lease, what else runs in the berth's own unit, and each process of the tenant's user that has the socket. It
 * ends nobody else: a tenant may have passed its socket to a program that knows nothing of it.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { FdHandle } from "../../../fd.ts";
import type { Native } from "../../../native.ts";
import { isPrivileged } from "../../access/policy.ts";
import { hasSocket, holdersAmong } from "../../sockets/holders/socket-holders.ts";
import { socketInode } from "../../sockets/passed-socket.ts";
import type { Berth } from "../berth/berth.ts";
import type { Tenant } from "../berth/lease.ts";
import type { TenantProcess } from "../berth/tenant-process.ts";

const { SIGKILL } = constants.signals;

/** Who had the berth last, or has it. */
export interface LastTenant {
  readonly tenant: Tenant;
  /** A share of its own. Undefined if the lease had ended. */
  readonly process: TenantProcess | undefined;
}

/** Sends SIGKILL to them. Resolves with their numbers. */
export async function endTenant(berth: Berth, last: LastTenant | undefined, sys: Native): Promise<number[]> {
  const ended = new Set<number>();
  if (last?.process?.lives === true) {
    const { pid, unit } = last.tenant;
    // It still lives after its cgroup was read, so that is its own.
    const members = unit === `berth@${berth.name}.service` ? membersOfCgroup(pid) : [];
    if ((last.process.signal(SIGKILL) ?? -1) >= 0) for (const one of [pid, ...members]) ended.add(one);
    for (const member of members) if (member !== pid) endProcess(member, () => true, sys);
  }
  const inodes = berth.sockets.filter(({ socket }) => socket.open).map(({ socket }) => socketInode(socket.fd));
  const isTenants = userTest(berth, last?.tenant);
  for (const { pid, inode } of await holdersAmong(inodes, isTenants)) {
    if (!ended.has(pid) && endProcess(pid, () => hasSocket(pid, inode, isTenants), sys)) ended.add(pid);
  }
  return [...ended];
}

/** Whether a user is one that this berth's servers run as. Root and the broker's user have sockets of their own. */
export function userTest({ spec, range }: Berth, tenant: Tenant | undefined): (uid: number) => boolean {
  const own = process.geteuid?.() ?? 0;
  return (uid) => {
    if (isPrivileged(uid, own)) return false;
    const isOfRange = range !== undefined && uid >= range.base && uid < range.base + range.count;
    return isOfRange || uid === tenant?.uid || uid === spec.server.user?.uid;
  };
}

/** A process whose number is still its own after `isMeant` has looked at it. */
function endProcess(pid: number, isMeant: () => boolean, sys: Native): boolean {
  const found = sys.pidfdOpen(pid);
  if (found < 0) return false;
  using pidfd = FdHandle.adopt(found, sys);
  return isMeant() && sys.pidfdSignal(pidfd.fd, SIGKILL) >= 0;
}

function membersOfCgroup(pid: number): number[] {
  try {
    const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "";
    return readFileSync(`/sys/fs/cgroup${path}/cgroup.procs`, "utf8").split("\n").filter(Boolean).map(Number);
  } catch {
    return []; // it has exited, or there is no such hierarchy
  }
}
