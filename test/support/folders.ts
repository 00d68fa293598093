/** Folders that tests make, and what is mounted while tests that run beside this one mount in theirs. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, sep } from "node:path";

const made: string[] = [];

/** A new folder, the caller's to remove. */
export function temporaryFolder(prefix = "berthd-test-"): string {
  const path = mkdtempSync(join(tmpdir(), prefix));
  made.push(path);
  return path;
}

/** The lines of proc_pid_mountinfo(5), without those of folders that other processes' tests have made. */
export function mountsHere(): string[] {
  const isBelow = (point: string, folder: string): boolean => point === folder || point.startsWith(folder + sep);
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => {
      const point = line.split(" ")[4] ?? "";
      return !point.startsWith(tmpdir() + sep) || made.some((folder) => isBelow(point, folder));
    });
}
