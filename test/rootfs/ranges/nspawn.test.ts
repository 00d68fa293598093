/** The real systemd-nspawn: it picks no reserved range, and berthd reserves no range that nspawn uses. */
import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { RANGE_SIZE } from "../../../src/accounts.ts";
import { rangeAt } from "../../../src/rootfs/ranges/range.ts";
import { Ranges } from "../../../src/rootfs/ranges/ranges.ts";
import { TestFolder } from "../../support/broker.ts";
import { openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";

/** A tree in which /bin/true runs. */
function smallTree(): TestFolder {
  const folder = new TestFolder({ "usr/lib/os-release": "ID=test\n" });
  const libraries = execFileSync("ldd", ["/bin/true"], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
  for (const file of ["/bin/true", ...libraries]) {
    const copy = join(folder.path, file);
    mkdirSync(dirname(copy), { recursive: true });
    copyFileSync(file, copy);
  }
  return folder;
}

/** The base that nspawn picks: the one of the tree's owner, if it is free. */
function picked(tree: string, wanted: number): number {
  chownSync(tree, wanted, wanted);
  const args = ["--register=no", "--keep-unit", "--private-users=pick", "--directory", tree, "/bin/true"];
  const { stderr } = spawnSync("systemd-nspawn", args, { encoding: "utf8", timeout: 60_000 });
  return Number(/Selected user namespace base (\d+)/.exec(stderr)?.[1]);
}

it(
  "a range that is reserved is not picked for a container, unless the broker has gone (needs root)",
  needs("root", "systemd-nspawn"),
  () => {
    const before = openFds();
    using tree = smallTree();
    using state = new TestFolder();
    const ranges = Ranges.open(join(state.path, "ranges"));
    const wanted = 4000 * RANGE_SIZE;
    expect(ranges.reserve("arena", wanted)).toEqual(rangeAt(wanted));
    const base = picked(tree.path, wanted);
    expect(base % RANGE_SIZE).toBe(0);
    expect(base).not.toBe(wanted);
    ranges.close();
    expect(picked(tree.path, wanted)).toBe(wanted);
    expect(openFds()).toEqual(before);
  },
);
