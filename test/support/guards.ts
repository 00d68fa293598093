/** The guard processes of a broker: berth-guard forks one for each user that sends descriptors. */
import { readdirSync, readFileSync } from "node:fs";
import { expect } from "vitest";

/** The children of a process that have a name. */
export function childrenOf(pid: number, name: string): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => {
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
        const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return Number(parent) === pid && state !== "Z" && stat.includes(`(${name})`);
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}

/** Pidfds of processes that have ended, which the broker has not closed yet: proc_pid_fdinfo(5). */
function stalePidfds(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fdinfo`).filter((fd) => {
    try {
      return /^Pid:\s+-1$/m.test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"));
    } catch {
      return false; // it has been closed
    }
  });
}

/**
 * Waits until no guard process of a broker is left but the one that forks: idle ones end after a short time. Then the
 * broker has nothing open for them.
 */
export async function guardsEnded(pid: number): Promise<void> {
  const workers = (): number[] =>
    childrenOf(pid, "berth-guard").flatMap((zygote) => childrenOf(zygote, "berth-guard-w"));
  await expect.poll(workers, { timeout: 30_000, interval: 20 }).toEqual([]);
  await expect.poll(() => stalePidfds(pid), { timeout: 30_000, interval: 20 }).toEqual([]);
}
