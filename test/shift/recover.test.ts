/** What goes wrong on the way: kills at every step, calls that fail, signals. The next run ends in the right state. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { programPath } from "../../src/launcher-path.ts";
import { TestFolder } from "../support/broker.ts";
import { isRoot, needs } from "../support/needs.ts";
import {
  capabilityOf,
  makeFiles,
  modeOf,
  ownerOf,
  ownersBelow,
  python,
  setCapability,
  shiftOwn,
  shiftOwnPath,
  toRange,
} from "./support.ts";

const quiet = ["strace", "-f", "-o", "/dev/null"] as const;

/** Trees in which one file has all that a change of owner takes off. */
const template = new TestFolder({ "tree/a": "", "tree/d/ping": "#!ping", "tree/z": "" });
afterAll(() => template[Symbol.dispose]());
beforeAll(() => {
  if (!isRoot) return;
  const ping = join(template.path, "tree/d/ping");
  chownSync(ping, 5, 6);
  setCapability(ping);
  chmodSync(ping, 0o6755);
  symlinkSync("a", join(template.path, "tree/link"));
});

function tree(): TestFolder {
  const folder = new TestFolder();
  expect(spawnSync("cp", ["-a", join(template.path, "tree"), folder.path]).status).toBe(0);
  return folder;
}

function expectShifted(root: string): void {
  const ping = join(root, "d/ping");
  const owners = ownersBelow(root);
  expect(owners.get("d/ping")).toBe("196613:196614");
  owners.delete("d/ping");
  expect(new Set(owners.values())).toEqual(new Set(["196608:196608"]));
  expect(modeOf(ping)).toBe("6755");
  const code =
    "import os, sys; print({name: os.getxattr(sys.argv[1], name).hex() for name in os.listxattr(sys.argv[1])})";
  expect(python(code, ping)).toBe("{'security.capability': '010000030020000000000000000000000000000000000300'}\n");
}

describe("shift-own (needs root and strace)", needs("root", "strace"), () => {
  // strace counts each call for itself; one thread that works makes them in one order.
  test.each([
    ["fchownat", 6],
    ["setxattr", 2],
    ["removexattr", 1],
    ["getxattr", 1],
    ["statx", 8],
  ])("killed at any %s, it leaves what the next run completes", { timeout: 60_000 }, (call, least) => {
    for (let time = 1; ; time++) {
      using folder = tree();
      const root = join(folder.path, "tree");
      const wrap = [...quiet, "-e", `trace=${call}`, "-e", `inject=${call}:signal=KILL:when=${time}`];
      const { code } = shiftOwn(["-j", "1", ...toRange, root], wrap);
      expect(shiftOwn([...toRange, root])).toMatchObject({ code: 0, stderr: "" });
      expectShifted(root);
      // It came to its end: there are no more such calls.
      if (code === 0) return expect(time).toBeGreaterThan(least);
    }
  });

  test("a run restores the bits that a killed run had stored", () => {
    using folder = tree();
    const root = join(folder.path, "tree");
    const ping = join(root, "d/ping");
    const capability = capabilityOf(ping);
    chownSync(ping, 196613, 196614);
    expect(modeOf(ping)).toBe("755");
    python(
      "import os, sys; os.setxattr(sys.argv[1], 'trusted.berthd.shift-own', (0o6755).to_bytes(4, 'little') + bytes.fromhex(sys.argv[2]))",
      ping,
      capability,
    );
    expect(shiftOwn([...toRange, root])).toMatchObject({ code: 0, stderr: "" });
    expectShifted(root);
  });

  test.each([
    ["fchownat:error=EPERM", "cannot change the owner of", "lsattr"],
    ["fchownat:error=EROFS", "cannot change the owner of", "Read-only file system"],
    ["setxattr:error=ENOSPC", "cannot store the mode and capabilities of", "free space"],
    ["removexattr:error=EIO", "cannot remove the stored mode and capabilities from", "Input/output error"],
  ])("%s once is reported for that file, the others are shifted, and the exit code is 1", (inject, words, advice) => {
    using folder = tree();
    const root = join(folder.path, "tree");
    const wrap = [...quiet, "-e", `trace=${inject.split(":")[0]}`, "-e", `inject=${inject}:when=1`];
    const { code, stdout, stderr } = shiftOwn(["-j", "1", ...toRange, root], wrap);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^shift-own: [^\n]+; [^\n]+\n$/);
    expect(stderr).toContain(`${words} ${root}/`);
    expect(stderr).toContain(advice);
    expect(stdout).toBe(`5 files under ${root} shifted with 0x30000 using range 0x10000, 1 file failed\n`);
    expect(shiftOwn([...toRange, root]).code).toBe(0);
    expectShifted(root);
  });

  test("a filesystem without such attributes is no obstacle", () => {
    using folder = tree();
    const root = join(folder.path, "tree");
    const wrap = [...quiet, "-e", "trace=setxattr", "-e", "inject=setxattr:error=EOPNOTSUPP:when=1"];
    expect(shiftOwn(["-j", "1", ...toRange, root], wrap)).toMatchObject({ code: 0, stderr: "" });
    expectShifted(root);
  });
});

/** Whether a signal waits for the process; for none that has ended already, since it has seen it. */
function isPending(pid: number | undefined): boolean {
  try {
    return !/^ShdPnd:\t0+$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("shift-own (needs root)", needs("root"), () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s stops it: it says how far it is, and the next run does the rest", async (signal, code) => {
    using folder = new TestFolder();
    // Long lines of few files: ext4 takes ever longer to make one while others have removed thousands in the last
    // seconds.
    const root = join(folder.path, ...Array<string>(4).fill("a-long-name-".repeat(20)));
    makeFiles(root, 12, 60);
    const child = spawn(shiftOwnPath, ["-v", "-j", "1", ...toRange, root], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "close");
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    // Nobody reads on, of 700 KiB of lines, so it cannot come to its end; and it must have seen the signal before
    // somebody does. The listener is there all the time: once the process has exited, Node throws away what nobody
    // listens for.
    await once(child.stdout, "data");
    child.stdout.pause();
    child.kill(signal);
    const deadline = performance.now() + 30_000;
    while (isPending(child.pid) && performance.now() < deadline) await setImmediate();
    child.stdout.resume();
    expect(await ended).toEqual([code, null]);
    expect(said).toMatch(/ range 0x10000; stopped, run it again to continue\n$/);
    const shifted = Number(/^(\d+) files? under /m.exec(said)?.[1]);
    expect(said.split("\n")).toHaveLength(shifted + 2);
    const rest = JSON.parse(shiftOwn(["--json", ...toRange, root]).stdout);
    expect(rest).toMatchObject({ shifted: 733 - shifted, unchanged: shifted, complete: true });
  });
});

describe("shift-mount (needs root and strace)", needs("root", "strace"), () => {
  const program = programPath("shift-mount");
  test.each([
    ["rename", 1],
    ["setxattr", 1],
    ["fsopen", 1],
    ["fsconfig", 3],
    ["fsmount", 1],
    ["fchownat", 1],
    ["fchownat", 4],
    ["setxattr", 2],
    ["move_mount", 1],
  ])("killed at %s, call %i, nothing is mounted, and the next run completes it", (call, time) => {
    using folder = tree();
    const [lower, int, at] = [join(folder.path, "tree"), join(folder.path, "int"), join(folder.path, "at")];
    const args = ["--oneshot", "-j", "1", ...toRange, lower, int, at];
    const inject = ["-e", `trace=${call}`, "-e", `inject=${call}:signal=KILL:when=${time}`];
    const isMounted = (): boolean => readFileSync("/proc/self/mountinfo", "utf8").includes(` ${at} `);
    try {
      expect(spawnSync("strace", ["-f", "-o", "/dev/null", ...inject, program, ...args]).signal).toBe("SIGKILL");
      expect(isMounted()).toBe(false);
      expect(spawnSync(program, args, { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
      expect(isMounted()).toBe(true);
      expectShifted(at);
      expect(ownerOf(join(lower, "d/ping"))).toBe("5:6");
    } finally {
      spawnSync("umount", ["-l", at]);
    }
  });
});
