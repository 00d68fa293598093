/**
 * Identifies a process in a record, where a pidfd cannot be kept. No other process ever has the same identity, and
 * every reader gets the same one, on one boot of one machine.
 */
import { fstatSync, readFileSync, statfsSync } from "node:fs";

const PIDFS_MAGIC = 0x50494446;

/**
 * `pidfd` is the process's. Undefined when it has exited. Before Linux 6.9 (pidfs) the identity is its number and its
 * start time (proc_pid_stat(5)): then the caller must check afterwards, by the pidfd, that the process still lives.
 */
export function processIdentity(pid: number, pidfd: number): string | undefined {
  // An inode number of a pidfd is never reused.
  if (hasPidfs(pidfd)) return `${bootId()} pidfd ${fstatSync(pidfd, { bigint: true }).ino}`;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // After the name in parentheses, which may have any character, comes field 3; starttime is field 22.
    return `${bootId()} start ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
  } catch {
    return undefined;
  }
}

let pidfs: boolean | undefined;
let boot: string | undefined;

function hasPidfs(pidfd: number): boolean {
  pidfs ??= statfsSync(`/proc/self/fd/${pidfd}`).type === PIDFS_MAGIC;
  return pidfs;
}

/**
 * Identities by who asked: an object that is always of one process, and from which the kernel gives that process's
 * pidfd. It remembers none where that could be another process's by now.
 */
export class KnownIdentities {
  readonly #known = new WeakMap<object, string>();

  get(who: object): string | undefined {
    return this.#known.get(who);
  }

  /** `pidfd` is the process's, and it lives. */
  note(who: object, identity: string, pidfd: number): void {
    if (hasPidfs(pidfd)) this.#known.set(who, identity);
  }
}

/** One for each start of the machine. */
export function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  return boot;
}
