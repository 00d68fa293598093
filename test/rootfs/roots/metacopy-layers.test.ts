/** The shifted layer for metacopy: when a process is killed while it builds one, the next run finishes it. */
import { spawnSync } from "node:child_process";
import { chownSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { native, packageRoot } from "../../../src/native.ts";
import { tryLock } from "../../../src/rootfs/disk/lock.ts";
import { rangeAt } from "../../../src/rootfs/ranges/range.ts";
import { MetacopyLayers } from "../../../src/rootfs/roots/metacopy-layers.ts";
import { TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";

// Each step is a process of its own.
vi.setConfig({ testTimeout: 120_000 });

const script = join(packageRoot, "test/fixtures/rootfs/die-at-step.mjs");
const BASE = 0x6000_0000;
/** More steps than any layer takes. */
const MANY = 40;

let before: string[];
let folder: TestFolder;
let tree: string;
let state: string;

beforeEach(() => {
  before = openFds();
  folder = new TestFolder({ "image/a": "a", "image/d/b": "b", "image/d/c": "c" });
  tree = join(folder.path, "image");
  state = join(folder.path, "state");
  symlinkSync("a", join(tree, "link"));
  linkSync(join(tree, "a"), join(tree, "d/a"));
  chownSync(join(tree, "d/c"), 33, 34);
  mkdirSync(state);
});

afterEach(async () => {
  folder[Symbol.dispose]();
  await expectFdsAgain(before);
});

/** A run that is killed at a step. Returns its output if it ended by itself. `wrap` is put before its command. */
function run(step: number, wrap: readonly string[] = []): string | undefined {
  const command = [...wrap, process.execPath, script, String(step), state, "shift", join(state, "shifted"), tree];
  const [program = "", ...args] = [...command, String(BASE)];
  const { signal, status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (signal === "SIGKILL" || status === 137) return undefined;
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

/** Everything in a finished layer, with its owner. */
function ownersIn(upper: string): Record<string, string> {
  const names = ["", ...readdirSync(upper, { recursive: true, encoding: "utf8" }).sort()];
  return Object.fromEntries(
    names.map((name) => {
      const { uid, gid } = lstatSync(join(upper, name));
      return [name, `${uid - BASE}:${gid - BASE}`];
    }),
  );
}

const complete = { "": "0:0", a: "0:0", d: "0:0", "d/a": "0:0", "d/b": "0:0", "d/c": "33:34", link: "0:0" };

describe("a layer of owners (needs root)", needs("root"), () => {
  it("is never taken for finished before it is, whenever its broker is killed, and the next one finishes it", () => {
    let killed = 0;
    let upper: string | undefined;
    for (let step = 1; step < MANY && upper === undefined; step++) {
      upper = run(step);
      if (upper !== undefined) break;
      killed += 1;
      for (const name of existsSync(join(state, "shifted")) ? readdirSync(join(state, "shifted")) : []) {
        const path = join(state, "shifted", name);
        if (existsSync(join(path, "done"))) expect(ownersIn(join(path, "upper")), `step ${step}`).toEqual(complete);
      }
    }
    expect(killed).toBeGreaterThan(3);
    expect(ownersIn(upper ?? "")).toEqual(complete);
  });

  it("continues after shift-own was killed at any file", needs("strace"), () => {
    let killed = 0;
    for (let file = 1; file <= 4; file++) {
      const inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `inject=fchownat:signal=KILL:when=${file}`];
      const said = run(0, inject);
      // Its threads share the files, so no thread handles this many.
      if (said?.startsWith("/")) break;
      expect(said).toMatch(/^shift-own could not shift the owners of the image's files: .*SIGKILL/);
      killed += 1;
      const [name = ""] = readdirSync(join(state, "shifted"));
      expect(existsSync(join(state, "shifted", name, "done"))).toBe(false);
    }
    expect(killed).toBeGreaterThan(0);
    expect(ownersIn(run(0) ?? "")).toEqual(complete);
  });

  it("waits for another process that builds it, and uses the result", async () => {
    const shifts = new MetacopyLayers(native);
    const images = [{ name: tree, tree }];
    const finished = run(0) ?? "";
    const path = join(finished, "..");
    const other = tryLock(path, "exclusive", native);
    const waiting = shifts.layer(join(state, "shifted"), images, rangeAt(BASE));
    if (!(waiting instanceof Promise)) throw new Error("it did not wait");
    other?.close();
    expect(await waiting).toBeUndefined();
    const layer = shifts.layer(join(state, "shifted"), images, rangeAt(BASE));
    if (layer instanceof Promise) throw new Error("it is not finished");
    expect(layer.upper).toBe(finished);
    layer.lock.close();
    shifts.close();
  });

  it("of images that the berth has no longer is removed, unless a root has it still", async () => {
    const shifts = new MetacopyLayers(native);
    const folderOf = join(state, "shifted");
    const layer = async (name: string): Promise<{ upper: string; lock: { close(): void } }> => {
      for (let tries = 0; tries < 3; tries++) {
        const made = shifts.layer(folderOf, [{ name, tree, version: name }], rangeAt(BASE));
        if (!(made instanceof Promise)) return made;
        expect(await made).toBeUndefined();
      }
      throw new Error("it is never finished");
    };
    const first = await layer("1");
    const second = await layer("2");
    expect(readdirSync(folderOf)).toHaveLength(2);
    first.lock.close();
    const third = await layer("3");
    expect(readdirSync(folderOf)).toHaveLength(2);
    expect(ownersIn(second.upper)).toEqual(complete);
    for (const { lock } of [second, third]) lock.close();
    shifts.close();
  });
});
