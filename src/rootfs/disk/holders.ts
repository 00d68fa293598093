/** Finds the processes that hold a flock(2) lock on a folder. It is for messages only: the answer can be outdated. */
import { readFileSync, statSync } from "node:fs";

/** The processes that hold a lock on the folder, each as `berthd (pid 77)`. */
export function lockHolders(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  const pids = readFileSync("/proc/locks", "utf8")
    .split("\n")
    .map((line) => /^\d+: FLOCK .* (\d+) [\da-f]+:[\da-f]+:(\d+) /.exec(line))
    .filter((match) => Number(match?.[2]) === stat.ino)
    .map((match) => Number(match?.[1]));
  return [...new Set(pids)].map((pid) => `${programOf(pid)} (pid ${pid})`);
}

function programOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd();
  } catch {
    return "a process"; // it has ended since
  }
}
