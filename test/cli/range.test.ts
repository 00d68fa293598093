/** `berth range`: whose ids are whose, and that none are given up while something is left of their owner. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Ranges } from "../../src/rootfs/ranges/ranges.ts";
import { TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, type Ended } from "./support.ts";

let folder: TestFolder;
let state: string;
let bob: number;

beforeEach(() => {
  const toml = '[root]\nimage = "arena"\n[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n';
  folder = new TestFolder({ "config/arena@.toml": toml, "config/arena@bob.toml": "" });
  state = join(folder.path, "state");
  using ranges = Ranges.open(join(state, "ranges"), { pool: { first: 0x6200_0000, last: 0x6203_ffff } });
  bob = ranges.reserve("arena@bob").base;
  ranges.reserve("gone");
});

afterEach(() => {
  folder[Symbol.dispose]();
});

const range = (command: string, ...args: string[]): Promise<Ended> =>
  berth(["range", command, ...args, "--state", state, "--config", join(folder.path, "config")]);

describe("berth range", () => {
  test("ls shows the berth of each range, and its configuration", async () => {
    const { code, stdout } = await range("ls");
    expect(code).toBe(0);
    expect(stdout.split("\n")[0]).toMatch(/^OWNER +FIRST +LAST +PROCESSES +CONFIGURATION$/);
    expect(stdout).toMatch(new RegExp(`^arena@bob +${bob} +${bob + 65_535} +0 +/\\S+/arena@bob.toml$`, "m"));
    expect(stdout).toMatch(/^gone +\d+ +\d+ +0 +none$/m);
    expect((await range("ls", "--names")).stdout).toBe("arena@bob\ngone\n");
    expect(JSON.parse((await range("ls", "--json")).stdout)).toMatchObject([
      { owner: "arena@bob", base: bob, count: 65_536, processes: [], conflict: null },
      { owner: "gone", configuration: null },
    ]);
    rmSync(state, { recursive: true });
    expect((await range("ls")).stdout).toBe("no ranges\n");
  });

  test("forget ends the reservation of a berth that is gone, once nothing is left of it", async () => {
    const files = join(state, "roots/gone");
    mkdirSync(files, { recursive: true });
    expect(await range("forget", "gone")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`rm -r ${files}`),
    });
    rmSync(files, { recursive: true });
    expect(await range("forget", "gone")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect((await range("ls", "--names")).stdout).toBe("arena@bob\n");
    expect(await range("forget", "gone")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("gone has no range"),
    });
  });

  test("forget of a berth that is configured is refused, unless --force", async () => {
    const { code, stderr } = await range("forget", "arena@bob");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /arena@bob\.toml configures the berth: remove its \[root\] first.*; or use --force\n$/,
      ),
    });
    expect((await range("forget", "arena@bob", "--force")).code).toBe(0);
    expect((await range("ls", "--names")).stdout).toBe("gone\n");
  });

  test("a process that has ids of a range is counted, and forget names it", needs("root"), async () => {
    const child = spawn("cat", { uid: bob + 70_000, gid: bob + 70_000, stdio: ["pipe", "ignore", "ignore"] });
    await once(child, "spawn");
    try {
      expect((await range("ls")).stdout).toMatch(/^gone +\d+ +\d+ +1 +none$/m);
      expect((await range("forget", "gone")).stderr).toContain(`end them first (kill ${child.pid})`);
    } finally {
      child.kill("SIGKILL");
      await once(child, "close");
    }
  });

  test("reservations that are damaged are an error, never none", async () => {
    writeFileSync(join(state, "ranges/ranges.json"), "");
    const { code, stdout, stderr } = await range("ls");
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toContain("the file of id ranges is damaged");
  });
});
