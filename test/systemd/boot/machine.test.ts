/** The machine that every test of this folder stands on. */
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mountsHere } from "../../support/folders.ts";
import { bootMachine, MACHINE, type Machine, NODE, PACKAGE } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

describe("a booted machine", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({ files: { "/etc/berthd/a.toml": "# here\n" } });
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  test("has systemd as its first process, and nothing failed", async () => {
    expect(await machine.ok(["ps", "-o", "comm=", "1"])).toBe("systemd\n");
    expect(await machine.ok(["systemctl", "--failed", "--quiet", "--plain", "--no-legend"])).toBe("");
  });

  test("has the files it was given, this package, this Node", async () => {
    expect(machine.read("/etc/berthd/a.toml")).toBe("# here\n");
    expect(await machine.ok([NODE, "--version"])).toBe(`${process.version}\n`);
    expect(await machine.ok(["berthd", "--version"])).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(await machine.ok(["ls", `${PACKAGE}/dist/berth/berth.cjs`])).toBe(`${PACKAGE}/dist/berth/berth.cjs\n`);
  });

  test("tells what a command said, how it ended, and what it was given to read", async () => {
    expect(await machine.run(["sh", "-c", "cat; echo no >&2; exit 3"], { input: "yes" })).toEqual({
      stdout: "yes",
      stderr: "no\n",
      code: 3,
    });
    await expect(machine.ok(["false"])).rejects.toThrow(/^false ended with 1:\n+journal of/);
  });

  test("ends a command that takes too long, and says so", async () => {
    await expect(machine.run(["sleep", "1000"], { timeout: 50 })).rejects.toThrow(
      "sleep 1000 did not end within 50 ms",
    );
    await machine.waitFor("sleep to be gone", async () => (await machine.run(["pgrep", "-x", "sleep"])).code === 1);
  });

  test("cannot be reached from the host's network, nor reach it", async () => {
    expect(await machine.ok(["ls", "/sys/class/net"])).toBe("lo\n");
  });
});

test("two machines run at once, and leave nothing behind", { ...needs(...MACHINE), timeout: 120_000 }, async () => {
  const mounts = mountsHere();
  const leaders: number[] = [];
  const names: string[] = [];
  {
    await using one = await bootMachine();
    await using two = await bootMachine();
    leaders.push(one.leader, two.leader);
    names.push(one.name, two.name);
    await one.ok(["touch", "/etc/only-one"]);
    expect((await two.run(["test", "-e", "/etc/only-one"])).code).toBe(1);
    expect(mountsHere()).toEqual(mounts);
  }
  expect(leaders.map((pid) => existsSync(`/proc/${pid}/exe`))).toEqual([false, false]);
  expect(mountsHere()).toEqual(mounts);
  expect(readdirSync(tmpdir()).filter((name) => names.includes(name))).toEqual([]);
  expect(existsSync("/etc/only-one")).toBe(false);
});
