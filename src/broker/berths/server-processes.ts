/**
 * The processes of a server that a lease was given to: those in a control group of its own, else those under a filter
 * of seccomp that have the lease in their environment or a socket of the berth, and what these have started. A process
 * of another user is none of them, whatever it says. Another process may have a number by the time it is used: callers
 * check that by `since`.
 */
import { constants } from "node:os";
import { setImmediate } from "node:timers/promises";
import { FdHandle } from "../../fd.ts";
import { type Native, native } from "../../native.ts";
import type { Range } from "../../rootfs/ranges/range.ts";
import { isPrivileged } from "../access/policy.ts";
import { environmentOf } from "../access/process-environment.ts";
import { contentsOf } from "../access/small-file.ts";
import { membersOfGroup } from "../sockets/control-group.ts";
import { socketsOf } from "../sockets/holders/process-sockets.ts";
import { isOfBroker, userProcesses } from "../sockets/holders/user-processes.ts";
import { socketInode } from "../sockets/passed-socket.ts";
import type { Berth } from "./berth/berth.ts";
import type { Lease } from "./berth/lease.ts";

const { ESRCH } = constants.errno;

export interface ServerProcess {
  readonly pid: number;
  readonly parent: number;
  /** Its process group. */
  readonly group: number;
  /** When it started, in ticks since the machine has (proc_pid_stat(5)). */
  readonly since: number;
  /** It says that it keeps the console (native/launch/output/console-keeper.cc): it ends with the server by itself. */
  readonly isConsole: boolean;
}

/** How long a search goes on before others get their turn, in milliseconds. */
const SLICE_MS = 1;
/** How long to wait for a process whose environment is read. */
const LOOK_MS = 100;

const none: ReadonlySet<bigint> = new Set();

/** The oldest first. */
export async function processesOf(berth: Berth, lease: Lease): Promise<readonly ServerProcess[]> {
  const { cgroup } = lease.tenant;
  const found =
    cgroup === undefined
      ? await searchUnderFilter(berth, lease)
      : membersOfGroup(cgroup).flatMap((pid) => processOf(pid) ?? []);
  return [...found].sort((a, b) => a.since - b.since || a.pid - b.pid);
}

/** What /proc tells of a process that runs; undefined when it has exited. Waits for nothing. */
export function processOf(pid: number): ServerProcess | undefined {
  const stat = contentsOf(`/proc/${pid}/stat`);
  // After the name in parentheses, which may have any character: state, parent, group; the start is field 22.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state = "", parent, group] = fields;
  if (state === "" || "ZXx".includes(state)) return undefined;
  const isConsole = stat.includes(" (berth-console) ");
  return { pid, parent: Number(parent), group: Number(group), since: Number(fields[19]), isConsole };
}

/** Those of a process group that run. A look at all processes. */
export function processesOfGroup(group: number): number[] {
  return userProcesses().filter((pid) => processOf(pid)?.group === group);
}

/**
 * Whether a user who is not privileged may send a process signals: it is the user's by its real or its saved id, as
 * kill(2) has it, or has an id of the berth's range.
 */
export function maySignal(uid: number, pid: number, range: Range | undefined): boolean {
  const [real = -1, , saved = -1] =
    /^Uid:\t(.*)$/m
      .exec(contentsOf(`/proc/${pid}/status`))?.[1]
      ?.split("\t")
      .map(Number) ?? [];
  const isOfRange = range !== undefined && real >= range.base && real < range.base + range.count;
  return real === uid || saved === uid || isOfRange;
}

/** Sends a signal to exactly that process. Returns 0 or -errno. */
export function signalProcess({ pid, since }: ServerProcess, signal: number, sys: Native): number {
  const opened = sys.pidfdOpen(pid);
  if (opened < 0) return opened;
  using pidfd = FdHandle.adopt(opened, sys);
  // In this order: if it lives after its number was looked at, the number was its own.
  return processOf(pid)?.since === since ? sys.pidfdSignal(pidfd.fd, signal) : -ESRCH;
}

async function searchUnderFilter(berth: Berth, lease: Lease): Promise<ServerProcess[]> {
  const isTheirs = userTest(berth, lease);
  const inodes = new Set(berth.sockets.map(({ socket }) => socketInode(socket.fd)));
  const known: ServerProcess[] = [];
  const others: ServerProcess[] = [];
  let since = performance.now();
  for (const pid of userProcesses()) {
    if (performance.now() - since > SLICE_MS) {
      await setImmediate();
      since = performance.now();
    }
    const trust = isTheirs(contentsOf(`/proc/${pid}/status`));
    const one = trust === "none" ? undefined : processOf(pid);
    if (one === undefined) continue;
    (isOfServer(one.pid, trust === "all" ? inodes : none, lease) ? known : others).push(one);
  }
  return [...known, ...descendants(others, known)];
}

/** Those whose parent is known, or a descendant of one that is. */
function descendants(among: readonly ServerProcess[], known: readonly ServerProcess[]): ServerProcess[] {
  const family = new Set(known.map(({ pid }) => pid));
  const found: ServerProcess[] = [];
  for (let size = -1; size < found.length; ) {
    size = found.length;
    for (const one of among) {
      if (family.has(one.pid) || !family.has(one.parent)) continue;
      family.add(one.pid);
      found.push(one);
    }
  }
  return found;
}

/**
 * What to believe of a process, by its /proc/PID/status. Root and the broker's user have sockets of their own: such a
 * process must say that it has the lease.
 */
function userTest({ spec, range }: Berth, lease: Lease): (status: string) => "all" | "lease" | "none" {
  const own = process.geteuid?.() ?? 0;
  return (status) => {
    if (!/^Seccomp:\t2$/m.test(status) || isOfBroker(status)) return "none";
    const uid = Number(/^Uid:\t\d+\t(\d+)/m.exec(status)?.[1] ?? -1);
    if (isPrivileged(uid, own)) return "lease";
    const isOfRange = range !== undefined && uid >= range.base && uid < range.base + range.count;
    return isOfRange || uid === lease.tenant.uid || uid === spec.server.user?.uid ? "all" : "none";
  };
}

/** Whether it has a socket of the berth, if that counts, or says that it has the lease. False if it does not answer. */
function isOfServer(pid: number, inodes: ReadonlySet<bigint>, lease: Lease): boolean {
  try {
    if (inodes.size > 0 && [...socketsOf(pid).values()].some((inode) => inodes.has(inode))) return true;
    return environmentOf(pid, LOOK_MS, native).includes(`BERTHD_LEASE=${lease.id}`);
  } catch {
    return false; // it has exited, is another user's, or waits
  }
}
