/** Who has a lock of flock(2) on a folder. Only for messages: who it is may change while it is read. */
import { readFileSync, statSync } from "node:fs";

/** Its processes, as `berthd (pid 77)`. */
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
    return "a process"; // it has ended since, or gave its lock to another
  }
}
