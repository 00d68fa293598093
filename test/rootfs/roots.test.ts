/** Roots on a real kernel: what tenants see in them, do in them and cannot do with them, by each strategy. */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Strategy } from "../../src/rootfs/root.ts";
import { fdsAgain, openFds } from "../support/fds.ts";
import { isRoot } from "../support/puppet.ts";
import { BASE, contentsOf, makeWorld, mounts, tenant } from "./world.ts";

let before: string[];
let mounted: string;

beforeEach(() => {
  before = openFds();
  mounted = mounts();
});

afterEach(async () => {
  expect(await fdsAgain(before)).toEqual(before);
  expect(mounts()).toBe(mounted);
});

describe.skipIf(!isRoot).each<Strategy>(["idmap", "metacopy"])("a root by %s (needs root)", (shift) => {
  it("has the image's files with the ids of the range, and takes what its ids may write", async () => {
    await using world = makeWorld();
    const image = join(world.folder.path, "arena");
    const untouched = contentsOf(image);
    const root = await world.build("a", { shift });
    expect(root.facts).toEqual({
      strategy: shift,
      images: ["arena@1"],
      state: "persistent",
      range: { base: BASE, count: 65_536 },
    });
    const seen = tenant(
      root,
      BASE,
      `print(read("etc/motd"), owner("."), owner("etc/motd"), owner("etc/again"), owner("home/score"), owner("bin/su"), owner("home/link"), sep="\\n")`,
    ).split("\n");
    expect(seen).toEqual([
      "welcome",
      `${BASE}:${BASE} 40755`,
      `${BASE}:${BASE} 100644`,
      `${BASE}:${BASE} 100644`,
      `${BASE + 33}:${BASE + 33} 100640`,
      `${BASE}:${BASE} 104755`,
      `${BASE}:${BASE} 120777`,
    ]);
    expect(
      tenant(root, BASE, `print(write("etc/motd", "changed"), write("new", "x"), read("etc/motd"), owner("new"))`),
    ).toBe(`7 1 changed ${BASE}:${BASE} 100644`);
    expect(
      tenant(root, BASE + 33, `print(read("home/score"), write("home/score", "9"), write("etc/motd", "no"))`),
    ).toBe("0 1 EACCES");
    expect(
      tenant(
        root,
        BASE,
        `print(tried(os.rename, "etc", "cfg", src_dir_fd=3, dst_dir_fd=3), read("cfg/motd"), read("etc/motd"))`,
      ),
    ).toBe("None changed ENOENT");
    expect(contentsOf(image)).toEqual(untouched);
  });
});
