/** Trees that are not what they were a moment ago, or larger than anybody thought: nothing outside is ever touched. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { limitedTo } from "../support/wrap.ts";
import { makeFiles, ownerOf, ownersBelow, python, shiftOwn, shiftOwnPath, toRange } from "./support.ts";

/** Swaps a directory and a file of the tree with links to what is outside, until it is killed; says a line first. */
const swapper = `
import os, sys
root, outside = sys.argv[1:]
os.symlink(outside + "/d", root + "/d.link")
os.symlink(outside + "/f", root + "/f.link")
print("swapping", flush=True)
while True:
    for name in ("d", "f"):
        os.rename(f"{root}/{name}", f"{root}/{name}.real")
        os.rename(f"{root}/{name}.link", f"{root}/{name}")
        os.rename(f"{root}/{name}", f"{root}/{name}.link")
        os.rename(f"{root}/{name}.real", f"{root}/{name}")
`;

describe("shift-own (needs root)", needs("root"), () => {
  test.each([
    ["in a directory of its own, by names", 0o755],
    ["in one that others can write in, by descriptors", 0o777],
  ])("names that turn into links to the outside lead nowhere: %s", async (_what, mode) => {
    using folder = new TestFolder({ "outside/d/secret": "", "outside/f": "", "tree/d/x": "", "tree/f": "" });
    const at = (name: string): string => join(folder.path, name);
    chmodSync(at("tree"), mode);
    const child = spawn("python3", ["-c", swapper, at("tree"), at("outside")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "close");
    try {
      await once(createInterface(child.stdout), "line");
      for (let round = 0; round < 60; round++) {
        // There and back, so that there always is something to do.
        shiftOwn(["-s", round % 2 === 0 ? "0x30000" : "0", "-r", "0x10000", at("tree")]);
      }
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
    expect(new Set(ownersBelow(at("outside")).values())).toEqual(new Set(["0:0"]));
    // The last way was back; now that nobody interferes, everything follows.
    expect(shiftOwn([...toRange, at("tree")]).code).toBe(0);
    expect(new Set(ownersBelow(at("tree")).values())).toEqual(new Set(["196608:196608"]));
  });

  test("what is mounted below is left alone and counted, or shifted with --mounts", () => {
    using folder = new TestFolder({ "tree/d/x": "", "elsewhere/y": "" });
    const at = (name: string): string => join(folder.path, name);
    mkdirSync(at("tree/mnt"));
    expect(spawnSync("mount", ["--bind", at("elsewhere"), at("tree/mnt")]).status).toBe(0);
    try {
      expect(shiftOwn([...toRange, at("tree")]).stdout).toMatch(/^3 files .* range 0x10000, 1 mount left alone\n$/);
      expect(ownerOf(at("elsewhere/y"))).toBe("0:0");
      expect(shiftOwn(["--mounts", ...toRange, at("tree")]).stdout).toMatch(/^2 files .*, 3 files already there\n$/);
      expect(ownerOf(at("elsewhere/y"))).toBe("196608:196608");
    } finally {
      spawnSync("umount", [at("tree/mnt")]);
    }
  });

  test("ids in ACLs are shifted, default ones too", () => {
    using folder = new TestFolder({ "d/file": "" });
    const at = (name: string): string => join(folder.path, name);
    // user::rw-, user:1000:rw-, group::r--, group:100:r--, mask::rw-, other::r-- (acl(5), as the kernel has it).
    const code = `
import os, struct, sys
entries = lambda base: [(1, 6, -1), (2, 6, 1000 + base), (4, 4, -1), (8, 4, 100 + base), (16, 6, -1), (32, 4, -1)]
value = lambda base: struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries(base))
both = ((sys.argv[1], "system.posix_acl_access"), (sys.argv[2], "system.posix_acl_default"))
for path, name in both:
    if sys.argv[3] == "set": os.setxattr(path, name, value(0))
    else: print(os.getxattr(path, name) == value(196608))`;
    python(code, at("d/file"), at("d"), "set");
    for (const shifted of [3, 0]) {
      expect(shiftOwn([...toRange, folder.path]).stdout).toMatch(new RegExp(`^${shifted} files`));
      expect(python(code, at("d/file"), at("d"), "get")).toBe("True\nTrue\n");
    }
  });

  describe("a large tree", { timeout: 120_000 }, () => {
    const folder = new TestFolder();
    beforeAll(() => {
      // In memory: to make it takes longer than to shift it.
      expect(spawnSync("mount", ["-t", "tmpfs", "-o", "nr_inodes=0", "tmpfs", folder.path]).status).toBe(0);
      // 100,000 files; and 1,500 directories in each other, each with another beside it, beyond what a path may be
      // long.
      makeFiles(join(folder.path, "wide"), 500, 199);
      python(
        `
import os, sys
os.mkdir(sys.argv[1]); os.chdir(sys.argv[1])
for depth in range(1500):
    os.mkdir("beside"); os.mkdir("deeper"); os.chdir("deeper")`,
        join(folder.path, "deep"),
      );
    }, 120_000);
    afterAll(() => {
      spawnSync("umount", [folder.path]);
      folder[Symbol.dispose]();
    });

    test("64 descriptors and 24 MB are enough", () => {
      const code = `
import resource, subprocess, sys
print(subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)`;
      const run = [...limitedTo(64), shiftOwnPath, "-v", "-j", "4", ...toRange, folder.path];
      const [code_, kilobytes = 0] = python(code, ...run)
        .split(" ")
        .map(Number);
      expect(code_).toBe(0);
      expect(kilobytes).toBeLessThan(24 << 10);
      // 1 + (1 + 500 * 200) + (1 + 1500 * 2)
      const again = limitedTo(12);
      expect(shiftOwn(["--json", "-j", "2", ...toRange, folder.path], again)).toMatchObject({ code: 0, stderr: "" });
      expect(JSON.parse(shiftOwn(["--json", ...toRange, folder.path]).stdout)).toMatchObject({
        shifted: 0,
        unchanged: 103_003,
        failed: 0,
      });
    });
  });
});
