/** What container runtimes see of this machine's control groups. */
import { readFileSync } from "node:fs";

/**
 * In front of a command: of hybrid control groups it sees version 1 only. crun refuses hybrid ones that have a
 * controller in version 2. Empty on a machine that has one version.
 */
export function withOneCgroupVersion(): readonly string[] {
  const rows = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const pointsOf = (type: string): string[] =>
    rows.filter((row) => row.includes(` - ${type} `)).map((row) => row.split(" ")[4] ?? "");
  const second = pointsOf("cgroup2").filter((point) => point !== "/sys/fs/cgroup");
  if (second.length === 0 || pointsOf("cgroup").length === 0) return [];
  return [
    ...["unshare", "--mount", "--propagation", "private", "--"],
    ...["sh", "-euc", `for point in ${second.join(" ")}; do umount "$point"; done; exec "$@"`, "sh"],
  ];
}
