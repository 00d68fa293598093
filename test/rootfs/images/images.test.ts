/** Images of a state folder: references, the processes that hold a version, and removal. */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Native, native } from "../../../src/native.ts";
import { folderState } from "../../../src/rootfs/disk/folder-state.ts";
import { type FoundVersion, Images } from "../../../src/rootfs/images/images.ts";
import { encodeManifest } from "../../../src/rootfs/images/manifest.ts";
import { Staging } from "../../../src/rootfs/images/staging.ts";
import { TestFolder } from "../../support/broker.ts";
import { openFds } from "../../support/fds.ts";

let before: string[];
let folder: TestFolder;
let images: Images;

beforeEach(() => {
  before = openFds();
  folder = new TestFolder();
  images = new Images(join(folder.path, "images"));
});

afterEach(() => {
  folder[Symbol.dispose]();
  expect(openFds()).toEqual(before);
});

/** Publishes a version with one file. The file contains the version. */
async function publish(name: string, version: string, current = true): Promise<void> {
  using staging = Staging.open(images.folder, native);
  const finished = join(staging.folder, "version");
  mkdirSync(join(finished, "tree"), { recursive: true });
  writeFileSync(join(finished, "tree/file"), version);
  const source = { kind: "directory", location: "/somewhere" } as const;
  const manifest = {
    name,
    version,
    digest: "sha256:00",
    entries: 2,
    bytes: 2,
    imported: `2026-01-0${version}`,
    source,
  };
  writeFileSync(join(finished, "manifest.json"), encodeManifest(manifest));
  try {
    images.publish(finished, manifest, current);
  } finally {
    await staging.clear();
  }
}

function resolved(reference: string): FoundVersion {
  const found = images.resolve(reference);
  if ("problem" in found) throw new Error(found.problem);
  return found;
}

const text = (reference: string): string => readFileSync(join(resolved(reference).tree, "file"), "utf8");
const absent = expect.objectContaining({ code: "IMAGE_ABSENT" });
const inUse = (part: string) =>
  expect.objectContaining({ code: "IMAGE_IN_USE", message: expect.stringContaining(part) });

describe("a reference", () => {
  it("is NAME for the current version, NAME@VERSION, or an absolute path", async () => {
    await publish("arena", "1");
    await publish("arena", "2");
    await publish("arena", "3", false);
    const tree = `${images.folder}/arena/2/tree`;
    expect(resolved("arena")).toEqual({ name: "arena", version: "2", tree, state: folderState(tree) });
    expect([text("arena"), text("arena@1"), text("arena@3")]).toEqual(["2", "1", "3"]);
    const { path } = folder;
    const { state, ...found } = resolved(path);
    expect(found).toEqual({ name: path, tree: path });
    chmodSync(path, 0o755);
    expect(resolved(path).state).not.toBe(state);
  });

  it("that is no folder any more cannot be held", async () => {
    await publish("arena", "1");
    const version = resolved("arena");
    const moved = join(images.folder, "arena", "elsewhere");
    const place = dirname(version.tree);
    renameSync(place, moved);
    expect(() => images.hold(version)).toThrow(absent);
    writeFileSync(place, "");
    expect(() => images.hold(version)).toThrow(absent);
  });

  it.each([
    ["arena", "there is no image arena", "berth image import arena"],
    ["arena@7", "the image arena has no version 7", "berth image ls"],
    ["/nowhere/at/all", "there is no folder /nowhere/at/all", "correct the path"],
    ["../etc", '"../etc" is not the name of an image', "an absolute path"],
    [".work", '".work" is not the name of an image', "write NAME"],
    ["arena@current", '"arena@current" is not the name of an image', "write NAME"],
    ["", '"" is not the name of an image', "write NAME"],
  ])("%s that leads nowhere is a problem with a remedy, not an exception", (reference, problem, remedy) => {
    expect(images.resolve(reference)).toEqual({ problem, remedy: expect.stringContaining(remedy) });
  });
});

it("use switches the current version, back as well as forth; another that is not there is refused", async () => {
  await publish("arena", "1");
  await publish("arena", "2");
  images.use("arena", "1");
  expect(text("arena")).toBe("1");
  expect(readlinkSync(`${images.folder}/arena/current`)).toBe("1");
  expect(() => images.use("arena", "9")).toThrow(absent);
  expect(() => images.use("none", "1")).toThrow(absent);
  expect(text("arena")).toBe("1");
});

it("list tells of every version: the current one, where it came from, and who holds it", async () => {
  expect(images.list()).toEqual([]);
  await publish("arena", "1");
  await publish("arena", "2");
  await publish("base", "5");
  using _held = images.hold(resolved("arena@1"));
  expect(images.list()).toMatchObject([
    { name: "arena", version: "2", current: true, holders: [], entries: 2, source: { location: "/somewhere" } },
    { name: "arena", version: "1", current: false, holders: [expect.stringMatching(`\\(pid ${process.pid}\\)$`)] },
    { name: "base", version: "5", current: true },
  ]);
});

it("a manifest that is not what was written is damage, and named", async () => {
  await publish("arena", "1");
  const path = `${images.folder}/arena/1/manifest.json`;
  const whole = readFileSync(path, "utf8");
  const wrong = whole.replace('"entries"', '"droppedDevices": "7", "entries"');
  for (const text of ["", "{}", "null", '{"format":1,"name":"arena"}', wrong]) {
    writeFileSync(path, text);
    expect(() => images.list()).toThrow(
      expect.objectContaining({ code: "STATE_DAMAGED", message: expect.stringContaining(path) }),
    );
  }
  writeFileSync(path, wrong.replace('"7"', "7"));
  expect(images.list()).toMatchObject([{ droppedDevices: 7 }]);
});

describe("rm", () => {
  it("removes a version, or an image with all of them, and leaves nothing of it", async () => {
    await publish("arena", "1");
    await publish("arena", "2");
    await images.remove("arena", "1");
    expect(readdirSync(`${images.folder}/arena`).sort()).toEqual(["2", "current"]);
    await publish("arena", "3");
    await images.remove("arena");
    expect(readdirSync(images.folder)).toEqual([".work"]);
    expect(readdirSync(`${images.folder}/.work`)).toEqual([]);
    await expect(images.remove("arena")).rejects.toThrow(absent);
  });

  it("of the only version removes the image, of the current one among several is refused", async () => {
    await publish("arena", "1");
    await publish("arena", "2");
    await expect(images.remove("arena", "2")).rejects.toThrow(inUse("berth image use arena@1"));
    await images.remove("arena", "1");
    await images.remove("arena", "2");
    expect(images.resolve("arena")).toHaveProperty("problem");
    expect(readdirSync(images.folder)).toEqual([".work"]);
  });

  it("is refused while somebody holds it, and says who; the others can go", async () => {
    await publish("arena", "1");
    await publish("arena", "2");
    const held = images.hold(resolved("arena@1"));
    using _second = images.hold(resolved("arena@1"));
    held.close();
    await expect(images.remove("arena", "1")).rejects.toThrow(inUse(`(pid ${process.pid}) holds it`));
    await expect(images.remove("arena")).rejects.toThrow(inUse("arena@1 is in use"));
    expect([text("arena@1"), text("arena@2")]).toEqual(["1", "2"]);
    expect(readdirSync(`${images.folder}/.work`)).toEqual([]);
  });

  it("between opening and locking makes the hold fail too, whether or not the version is there again", async () => {
    const before = openFds();
    for (const isBack of [false, true]) {
      await publish("arena", "1");
      const version = resolved("arena");
      const folder = join(version.tree, "..");
      const flock: Native["flock"] = (fd, operation) => {
        renameSync(folder, `${folder}.removed`);
        if (isBack) mkdirSync(join(folder, "tree"), { recursive: true });
        return native.flock(fd, operation);
      };
      expect(() => new Images(images.folder, { ...native, flock }).hold(version)).toThrow(absent);
      expect(openFds()).toEqual(before);
      rmSync(join(images.folder, "arena"), { recursive: true });
    }
  });

  it("between resolving and holding makes the hold fail, rather than hold what is gone", async () => {
    await publish("arena", "1");
    const version = resolved("arena");
    await images.remove("arena");
    expect(() => images.hold(version)).toThrow(absent);
    await publish("arena", "1");
    images.hold(version).close();
  });
});

it("a version that is there already is not imported over", async () => {
  await publish("arena", "1");
  await expect(publish("arena", "1")).rejects.toThrow(inUse("exists already"));
  expect(text("arena")).toBe("1");
});

describe("a staging folder", () => {
  it("that a killed process left is removed by the next one, unless it is in use", async () => {
    using living = Staging.open(images.folder, native);
    const left = Staging.open(images.folder, native);
    mkdirSync(join(left.folder, "tree"));
    left[Symbol.dispose]();
    using next = Staging.open(images.folder, native);
    await next.tidy();
    const there = readdirSync(`${images.folder}/.work`).map((name) => join(images.folder, ".work", name));
    expect(there.sort()).toEqual([living.folder, next.folder].sort());
    await living.clear();
    await next.clear();
    expect(readdirSync(`${images.folder}/.work`)).toEqual([]);
  });
});

it("the folder of images may be missing at any time", () => {
  rmSync(images.folder, { recursive: true, force: true });
  expect(images.list()).toEqual([]);
  expect(images.resolve("arena")).toHaveProperty("problem");
});
