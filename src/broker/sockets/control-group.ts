/**
 * The control group of a process, if it has one for itself, as a service of systemd does: then all its members are the
 * processes of one server. It changes none.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beginningOf, contentsOf } from "../access/small-file.ts";

/** Where hierarchies are mounted: version 2 alone, beside version 1, and systemd's own of version 1. */
const HIERARCHIES: readonly (readonly [line: RegExp, roots: readonly string[]])[] = [
  [/^0::(\/.+)$/m, ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]],
  [/^\d+:name=systemd:(\/.+)$/m, ["/sys/fs/cgroup/systemd"]],
];
/** Groups below it that are looked at. */
const MAX_GROUPS = 1000;

/** Shows whether a group has a second member: it may have thousands. */
const TWO_MEMBERS = 32;

/**
 * Its folder; undefined if another process is in it as well, or there is no such folder. `text` is what
 * /proc/PID/cgroup has.
 */
export function ownGroup(pid: number, text: string = contentsOf(`/proc/${pid}/cgroup`)): string | undefined {
  for (const [line, roots] of HIERARCHIES) {
    const path = line.exec(text)?.[1];
    // ".." leads to what the broker, in a namespace of its own, cannot see.
    if (path === undefined || path.split("/").includes("..")) continue;
    const folder = roots
      .map((root) => join(root, path))
      .find((at) => beginningOf(join(at, "cgroup.procs"), TWO_MEMBERS).trim() === `${pid}`);
    if (folder !== undefined) return folder;
  }
  return undefined;
}

/** The processes in a group, and in the groups below it. */
export function membersOfGroup(folder: string): number[] {
  const folders = [folder];
  for (let at = 0; at < folders.length && folders.length < MAX_GROUPS; at++) folders.push(...below(folders[at] ?? ""));
  return folders.flatMap((one) => read(join(one, "cgroup.procs")).split("\n").filter(Boolean).map(Number));
}

function below(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  } catch {
    return []; // it was removed
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // it has exited, or there is no such hierarchy
  }
}
