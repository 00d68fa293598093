/**
 * A Debian for tests: a tree of real programs, as debootstrap makes it from this machine's release, with the packages
 * below. It is built once and then shared by all tests, all runs and all Nodes; nobody writes to it.
 * $BERTHD_TEST_TREES names the folder for it, else it is one in the folder for temporary files that stays.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathOf } from "./needs.ts";

/** What tests want beside the minimal base, which has perl and a shell. Another list is another tree. */
const PACKAGES = ["netcat-openbsd"];
const SUITE = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "stable";
const MIRROR = process.env["BERTHD_TEST_MIRROR"] ?? "http://deb.debian.org/debian";

/** What a tree needs, for `needs`. */
export const DEBIAN = ["root", "debootstrap", "flock", "unshare"] as const;

/** How long the first caller may take, in milliseconds: for the hook that asks. */
export const DEBIAN_TIMEOUT = 300_000;

export interface DebianOptions {
  /** Code name of the release: that of this machine unless given. */
  readonly suite?: string;
  /** What there is beside the minimal base. */
  readonly packages?: readonly string[];
}

/**
 * A newer Debian that boots, with its own Node, and in which this Node runs: from 26 on it is linked with libatomic.
 */
export const BOOTABLE: DebianOptions = {
  suite: "trixie",
  packages: ["systemd", "systemd-sysv", "dbus", "iproute2", "procps", "libatomic1", "nodejs"],
};

/** The tree's path; the first to ask builds it, others wait meanwhile. */
export function debianTree({ suite = SUITE, packages = PACKAGES }: DebianOptions = {}): string {
  const folder = process.env["BERTHD_TEST_TREES"] ?? join(tmpdir(), "berthd-test-trees");
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const { uid, mode } = statSync(folder);
  if (uid !== 0 || (mode & 0o022) !== 0) throw new Error(`${folder} is not root's alone; remove it`);
  const tree = join(folder, [suite, ...packages].join("+"));
  if (existsSync(tree)) return tree;
  execFileSync(
    "flock",
    [`${tree}.lock`, "sh", "-euc", BUILD, "sh", tree, suite, MIRROR, packages.join(), pathOf("debootstrap")],
    {
      stdio: ["ignore", "ignore", "inherit"],
      timeout: DEBIAN_TIMEOUT,
    },
  );
  return tree;
}

// What debootstrap mounts while it works is seen by nobody else, and goes with it. A tree that has its name is whole.
const BUILD = `
tree=$1
test ! -e "$tree" || exit 0
rm -rf --one-file-system "$tree.part"
unshare --mount --propagation private --pid --fork --kill-child=KILL -- \\
  "$5" --variant=minbase --include="$4" "$2" "$tree.part" "$3" >"$tree.log" 2>&1 || {
  tail -20 "$tree.log" >&2
  exit 1
}
rm -rf "$tree.part/var/cache/apt" "$tree.part/var/lib/apt/lists"
mv "$tree.part" "$tree"
`;
