/** SIGKILL before each change of the state folder: the next run finds the old state or the new one, and continues. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { native, packageRoot } from "../../../src/native.ts";
import { Images } from "../../../src/rootfs/images/images.ts";
import { importImage } from "../../../src/rootfs/images/import.ts";
import { Staging } from "../../../src/rootfs/images/staging.ts";
import { Ranges } from "../../../src/rootfs/ranges/ranges.ts";
import { TestFolder } from "../../support/broker.ts";

// Each step is a process of its own.
vi.setConfig({ testTimeout: 60_000 });

const script = join(packageRoot, "test/fixtures/rootfs/die-at-step.mjs");
/** More steps than any run here takes. A run that never ends fails the test. */
const MANY = 40;

let folder: TestFolder;
let state: string;

beforeEach(() => {
  folder = new TestFolder({ "source/a": "a", "source/d/b": "b" });
  state = join(folder.path, "state");
});

afterEach(() => {
  folder[Symbol.dispose]();
});

/** What a run printed before it was killed. Undefined when it ended by itself. */
function killedAt(step: number, ...args: readonly string[]): string | undefined {
  const { signal, status, stdout, stderr } = spawnSync(process.execPath, [script, String(step), state, ...args], {
    encoding: "utf8",
  });
  if (signal === "SIGKILL") return stdout;
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return undefined;
}

const bases = (output: string): Map<string, number> =>
  new Map(
    output
      .split("\n")
      .slice(0, -1)
      .map((line) => line.split(" "))
      .map(([owner = "", base]) => [owner, Number(base)]),
  );

it("a reservation: whatever was handed out before is still its owner's, and nobody else's", () => {
  let killed = 0;
  for (let step = 1; step < MANY; step++) {
    rmSync(state, { recursive: true, force: true });
    const output = killedAt(step, "reserve", "a", "b");
    if (output === undefined) break;
    killed += 1;
    const told = bases(output);
    using ranges = Ranges.open(`${state}/ranges`);
    const reserved = new Map(ranges.list().map(({ owner, base }) => [owner, base]));
    for (const [owner, base] of told) expect(reserved.get(owner), `step ${step}`).toBe(base);
    const now = ["a", "b", "c"].map((owner) => ranges.reserve(owner).base);
    expect(new Set(now).size, `step ${step}`).toBe(3);
    for (const [owner, base] of told) expect(ranges.reserve(owner).base, `step ${step}`).toBe(base);
    expect(readdirSync(state), `step ${step}`).toEqual(["ranges"]);
  }
  expect(killed).toBeGreaterThan(10);
  expect(killed).toBeLessThan(MANY - 1);
});

it("several processes that reserve at once get ranges of their own, and one owner gets one", async () => {
  const runs = [1, 2, 3, 4].map(async (n) => {
    const owners = ["shared", `a${n}`, `b${n}`, `c${n}`];
    const child = spawn(process.execPath, [script, "0", state, "reserve", ...owners], { stdio: ["ignore", "pipe", 2] });
    if (child.stdout === null) throw new Error("no pipe");
    const [output] = await Promise.all([text(child.stdout), once(child, "close")]);
    return bases(output);
  });
  const told = await Promise.all(runs);
  expect(new Set(told.map((run) => run.get("shared"))).size).toBe(1);
  const all = new Map(told.flatMap((run) => [...run]));
  expect(all.size).toBe(13);
  expect(new Set(all.values()).size).toBe(13);
  using ranges = Ranges.open(`${state}/ranges`);
  expect(new Map(ranges.list().map(({ owner, base }) => [owner, base]))).toEqual(all);
});

/** Expects that every visible file of an image is complete. */
function visible(): string[] {
  const images = new Images(`${state}/images`);
  return images.list().map(({ name, version, current }) => {
    const tree = join(images.folder, name, version, "tree");
    expect([readFileSync(join(tree, "a"), "utf8"), readFileSync(join(tree, "d/b"), "utf8")]).toEqual(["a", "b"]);
    return `${name}@${version}${current ? " current" : ""}`;
  });
}

it("an import: it is there whole or not at all, what was there before stays, and the next import tidies up", async () => {
  const images = new Images(`${state}/images`);
  await importImage(images, { name: "arena", version: "1", source: join(folder.path, "source") });
  let killed = 0;
  for (let step = 1; step < MANY; step++) {
    const output = killedAt(
      step,
      "import",
      step % 2 === 0 ? "other" : "arena",
      `v${step}`,
      join(folder.path, "source"),
    );
    if (output === undefined) break;
    killed += 1;
    const seen = visible();
    expect(seen.filter((line) => /^arena@.* current$/.test(line))).toHaveLength(1);
    // A new image appears with its current version, so a name always has a version.
    expect("tree" in images.resolve("other")).toBe(seen.some((line) => line.startsWith("other@")));
    await images.remove("other").catch(() => undefined);
  }
  expect(killed).toBeGreaterThan(8);
  expect(killed).toBeLessThan(MANY - 1);
  await importImage(images, { name: "last", version: "1", source: join(folder.path, "source") });
  expect(readdirSync(`${state}/images/.work`)).toEqual([]);
});

it("a removal, and a change of the current version: before or after, nothing between", async () => {
  const images = new Images(`${state}/images`);
  const source = join(folder.path, "source");
  for (const version of ["1", "2"]) await importImage(images, { name: "arena", version, source });
  let killed = 0;
  for (let step = 1; step < MANY; step++) {
    const output = killedAt(step, "use", "arena", step % 2 === 0 ? "2" : "1");
    if (output === undefined) break;
    killed += 1;
    expect(visible().filter((line) => line.endsWith(" current"))).toHaveLength(1);
  }
  expect(killed).toBeGreaterThan(2);
  let removals = 0;
  for (let step = 1; step < MANY; step++) {
    await importImage(images, { name: "gone", version: "1", source });
    const output = killedAt(step, "remove", "gone");
    if (output === undefined) break;
    removals += 1;
    visible();
    await images.remove("gone").catch(() => undefined);
  }
  expect(removals).toBeGreaterThan(3);
  expect(removals).toBeLessThan(MANY - 1);
  await images.remove("arena");
  expect(readdirSync(`${state}/images/.work`)).toEqual([]);
});

it("the folder of a program that outlives a killed import is not removed while it works", async () => {
  const images = `${state}/images`;
  const staging = Staging.open(images, native);
  const child = spawn("cat", [], { stdio: ["pipe", "ignore", "ignore", staging.lock] });
  await once(child, "spawn");
  staging[Symbol.dispose]();
  mkdirSync(join(staging.folder, "tree"));
  writeFileSync(join(staging.folder, "tree/half"), "");
  using next = Staging.open(images, native);
  await next.clear();
  expect(readdirSync(`${images}/.work`)).toHaveLength(1);
  child.stdin?.end();
  await once(child, "close");
  using last = Staging.open(images, native);
  await last.clear();
  expect(readdirSync(`${images}/.work`)).toEqual([]);
});
