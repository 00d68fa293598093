/** What a process looks like from outside: its threads' states, its memory, its descriptors. */
import { readdirSync, readFileSync } from "node:fs";

/** Threads that wait where no signal ends it: state D (proc_pid_stat(5)). */
export function stuckThreads(pid: number): number[] {
  return threads(pid).filter((thread) => stateOf(pid, thread) === "D");
}

/** Whether the process is still there; a zombie, which has only to be waited for, is not. */
export function isAlive(pid: number): boolean {
  return threads(pid).some((thread) => !["Z", "X", undefined].includes(stateOf(pid, thread)));
}

/** Resident memory in KiB that is its own: no file's, however much of those the page cache has mapped. */
export function ownKiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return of("RssAnon") + of("RssShmem");
}

/** How many descriptors it has open. */
export function descriptorCount(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Its threads; none when it is gone. */
export function threads(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return []; // it is gone
  }
}

function stateOf(pid: number, thread: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2)[0];
  } catch {
    return undefined; // it is gone
  }
}
