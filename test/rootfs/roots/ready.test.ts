/** Roots that are built ahead for a berth's next lease: when there is one, and which requests it fits. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { native } from "../../../src/native.ts";
import type { Root } from "../../../src/rootfs/roots/root.ts";
import type { RootRequest } from "../../../src/rootfs/roots/root-request.ts";
import { leaksNothing, openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { scripted } from "../../support/scripted-native.ts";
import { BASE, makeWorld, tenant, type World } from "../world.ts";

leaksNothing("soon");

/** A world that counts the overlays it makes. */
function counting(): { readonly world: World; readonly made: () => number } {
  let overlays = 0;
  const fsopen = (type: string): number => {
    if (type === "overlay") overlays++;
    return native.fsopen(type);
  };
  return { world: makeWorld(scripted({ fsopen })), made: () => overlays };
}

/** One lease of berth `a`, for which `count` overlays were made, with `written` in it. The next root is built ahead. */
async function readyAfter(
  { world, made }: ReturnType<typeof counting>,
  changes: Partial<RootRequest> = {},
  written = "mine",
): Promise<void> {
  const root = await world.build("a", changes);
  if (changes.readOnly !== true) tenant(root, BASE, `write("etc/motd", "${written}")`);
  const before = made();
  world.release("a", root, changes);
  await expect.poll(made).toBe(before + 1);
}

const copy = (from: string, to: string): void => expect(spawnSync("cp", ["-a", from, to]).status).toBe(0);
const motd = (root: Root): string => tenant(root, BASE, 'print(read("etc/motd"))');

describe("a root that stands ready (needs root)", needs("root"), () => {
  it.each([
    [{ state: "persistent" }, "mine"],
    [{ state: "volatile" }, "welcome"],
    [{ readOnly: true }, "welcome"],
  ] as const)("is what the next lease gets, and no other is made: %j", async (changes, found) => {
    const counted = counting();
    await using world = counted.world;
    for (let lease = 0; lease < 3; lease++) {
      await readyAfter(counted, changes);
      const made = counted.made();
      const root = await world.build("a", changes);
      expect(counted.made()).toBe(made);
      expect(root.facts).toMatchObject({ images: ["arena@1"], strategy: "idmap" });
      expect(motd(root)).toBe(found);
      world.release("a", root);
    }
  });

  it("lets its image be removed until a tenant has it", async () => {
    const counted = counting();
    await using world = counted.world;
    const holds = (): string[] => openFds().filter((fd) => fd.endsWith(` -> ${join(world.folder.path, "arena")}`));
    await readyAfter(counted);
    expect(holds()).toEqual([]);
    const root = await world.build("a");
    expect(holds()).toHaveLength(1);
    world.release("a", root);
    await expect.poll(holds).toEqual([]);
  });

  it("is not used for another configuration, or after its folder was exchanged", async () => {
    const counted = counting();
    await using world = counted.world;
    const upper = join(world.folder.path, "state/roots/a/upper");
    const arena = join(world.folder.path, "arena");
    world.folder.write({ "maps/etc/motd": "maps" });
    const again = async (changes: Partial<RootRequest> = {}): Promise<string> => {
      const made = counted.made();
      const root = await world.build("a", changes);
      expect(counted.made()).toBeGreaterThan(made);
      const found = motd(root);
      world.release("a", root);
      return found;
    };
    await readyAfter(counted);
    expect(await again({ readOnly: true })).toBe("welcome");
    await readyAfter(counted);
    expect(await again({ images: ["arena", "maps"] })).toBe("mine");
    await readyAfter(counted);
    rmSync(upper, { recursive: true });
    expect(await again()).toBe("welcome");
    await readyAfter(counted, {}, "theirs");
    renameSync(upper, `${upper}.aside`);
    copy(`${upper}.aside`, upper);
    expect(await again()).toBe("theirs");
    await readyAfter(counted);
    renameSync(arena, `${arena}.aside`);
    copy(`${arena}.aside`, arena);
    expect(await again()).toBe("mine");
  });

  it("is discarded when its state folder or its image's folder has changed", async () => {
    const counted = counting();
    await using world = counted.world;
    await readyAfter(counted);
    const upper = join(world.folder.path, "state/roots/a/upper");
    chmodSync(upper, 0o700);
    mkdirSync(join(upper, "new"));
    const root = await world.build("a");
    expect(tenant(root, BASE, 'print(owner("."), sorted(os.listdir("/proc/self/fd/3")))')).toContain(
      "40700 ['bin', 'etc'",
    );
    expect(tenant(root, BASE, 'print(owner("new"))')).toMatch(/ 40755$/);
    expect(readdirSync(upper)).toContain("new");
    world.release("a", root);
    await readyAfter(counted, { readOnly: true });
    chmodSync(join(world.folder.path, "arena"), 0o711);
    expect(tenant(await world.build("a", { readOnly: true }), BASE, 'print(owner("."))')).toBe(`${BASE}:${BASE} 40711`);
  });

  it("shows what somebody has changed further below meanwhile", async () => {
    const counted = counting();
    await using world = counted.world;
    await readyAfter(counted);
    const etc = join(world.folder.path, "state/roots/a/upper/etc");
    writeFileSync(join(etc, "motd"), "edited");
    writeFileSync(join(etc, "more"), "");
    const made = counted.made();
    const root = await world.build("a");
    expect(counted.made()).toBe(made);
    expect(motd(root)).toBe("edited");
    expect(tenant(root, BASE, 'print(sorted(os.listdir("/proc/self/fd/3/etc")))')).toBe("['again', 'more', 'motd']");
  });

  it("is not made while somebody has the last one open, of a berth that is forgotten, by metacopy, or after the end", async () => {
    const counted = counting();
    await using world = counted.world;
    const settled = async (root: Root): Promise<number> => {
      await root.close();
      await new Promise(setImmediate);
      return counted.made();
    };
    const first = await world.build("a");
    const left = first.lend();
    const before = counted.made();
    world.release("a", first, {});
    expect(await settled(first)).toBe(before);
    left.close();
    const second = await world.build("a");
    const made = counted.made();
    world.release("a", second, {});
    world.roots.forget("a");
    expect(await settled(second)).toBe(made);
    const other = await world.build("a");
    const now = counted.made();
    world.release("a", other, { shift: "metacopy" });
    expect(await settled(other)).toBe(now);
    expect(existsSync(join(world.folder.path, "state/roots/a/shifted"))).toBe(false);
    const third = await world.build("a");
    world.release("a", third, {});
    const last = counted.made();
    world.roots.close();
    expect(await settled(third)).toBe(last);
  });

  it("is discarded when the broker runs short of descriptors for another one", async () => {
    let short = false;
    const folders = (directory: number, path: string, flags: number): number =>
      short ? -constants.errno.EMFILE : native.openTree(directory, path, flags);
    await using world = makeWorld(scripted({ openTree: folders }));
    const held = (): string[] => openFds().filter((fd) => fd.endsWith(" -> /"));
    const root = await world.build("a");
    world.release("a", root, {});
    await root.close();
    await expect.poll(held).toHaveLength(1);
    short = true;
    await expect(world.build("b")).rejects.toThrow("EMFILE");
    await expect.poll(held).toEqual([]);
    short = false;
    expect(tenant(await world.build("b"), BASE + 65_536, 'print(read("etc/motd"))')).toBe("welcome");
  });

  it("is discarded when it is forgotten, and its folder is free then", async () => {
    const counted = counting();
    await using world = counted.world;
    await readyAfter(counted);
    world.roots.forget("a");
    const made = counted.made();
    expect(motd(await world.build("a"))).toBe("mine");
    expect(counted.made()).toBe(made + 1);
  });
});
