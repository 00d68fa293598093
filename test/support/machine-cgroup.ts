/** A cgroup for each machine: two at once must not meet in one, and killing it is the end of everything in it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

const PREFIX = "berthd-test-";

/** Where the host has cgroup version 2: alone, or beside version 1. Its absence is an error. */
function cgroupRoot(): string {
  const rows = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const row = rows.find((line) => line.split(" - ")[1]?.startsWith("cgroup2 "));
  const point = row?.split(" ")[4];
  if (point === undefined) throw new Error("no cgroup2 is mounted here, and systemd needs one: mount -t cgroup2 …");
  return point;
}

/** A new cgroup, with every controller there is. Those of tests that did not get to remove theirs are removed. */
export function makeCgroup(name: string): string {
  const root = cgroupRoot();
  for (const entry of readdirSync(root)) {
    const owner = entry.startsWith(PREFIX) ? entry.slice(PREFIX.length).split("-")[0] : undefined;
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) removeTree(join(root, entry));
  }
  for (const controller of readFileSync(join(root, "cgroup.controllers"), "utf8").trim().split(" ")) {
    try {
      writeFileSync(join(root, "cgroup.subtree_control"), `+${controller}`);
    } catch {
      // The host uses it otherwise; a machine does without.
    }
  }
  const cgroup = join(root, `${PREFIX}${process.pid}-${name}`);
  mkdirSync(cgroup);
  return cgroup;
}

/** Kills what is left in it, and removes it. */
export async function endCgroup(cgroup: string): Promise<void> {
  writeFileSync(join(cgroup, "cgroup.kill"), "1");
  const deadline = performance.now() + 30_000;
  while (!removeTree(cgroup)) {
    if (performance.now() > deadline) throw new Error(`processes in ${cgroup} do not end, not even by SIGKILL`);
    await setTimeout(10);
  }
}

/** Removes a cgroup and those below; false while a process is in one. */
function removeTree(cgroup: string): boolean {
  try {
    for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
      if (entry.isDirectory() && !removeTree(join(cgroup, entry.name))) return false;
    }
    rmdirSync(cgroup);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return true;
    return false;
  }
}
