/** Mounts and user namespaces by descriptor, on a real kernel: what calls.test.ts cannot show without root. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { FdHandle } from "../../src/fd.ts";
import {
  AT_FDCWD,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_RDONLY,
  native,
  OPEN_TREE_CLONE,
} from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";
import { isRoot, needs } from "../support/needs.ts";

const { EBADF, EINVAL, ENODEV, ENOENT, EPERM } = constants.errno;
const bad = 9999;
const BASE = 786_432;
const COUNT = 65_536;

leaksNothing("soon");
const held: FdHandle[] = [];
function keep(fd: number): number {
  const handle = FdHandle.adopt(fd);
  held.push(handle);
  return handle.fd;
}

afterEach(() => {
  for (const handle of held.splice(0)) handle.close();
});

/** Whether the file system of something that is open is mounted anywhere this process can see. */
function isAttached(fd: number): boolean {
  const { dev } = statSync(`/proc/self/fd/${fd}`);
  // MAJOR:MINOR of proc_pid_mountinfo(5), put together as in makedev(3).
  const devices = readFileSync("/proc/self/mountinfo", "utf8")
    .trim()
    .split("\n")
    .map((line) => (line.split(" ")[2] ?? "").split(":").map(Number));
  return devices.some(([major = 0, minor = 0]) => (minor & 0xff) + (major << 8) + (minor >> 8) * 2 ** 20 === dev);
}

describe("without root", () => {
  it("calls fail on a descriptor that is not a mount, a type or a directory", () => {
    expect(native.openTree(AT_FDCWD, "/nonexistent", 0)).toBe(-ENOENT);
    expect(native.openTree(bad, "x", 0)).toBe(-EBADF);
    expect(native.fsconfigFlag(bad, "ro")).toBe(-EBADF);
    expect(native.fsconfigString(bad, "size", "1")).toBe(-EBADF);
    expect(native.fsconfigFd(bad, "lowerdir+", bad)).toBe(-EBADF);
    expect(native.fsconfigCreate(bad)).toBe(-EBADF);
    // fsmount(2) asks first whether the caller may mount at all.
    expect(native.fsmount(bad, 0)).toBe(isRoot ? -EBADF : -EPERM);
  });

  it("a descriptor of open_tree is close-on-exec", () => {
    expect(native.getfd(keep(native.openTree(AT_FDCWD, "/", 0)))).toBe(1);
  });
});

describe("a detached mount (needs root)", needs("root"), () => {
  it("of a tmpfs takes files, and is nowhere to be seen", () => {
    expect(native.fsopen("berthd-no-such")).toBe(-ENODEV);
    const context = keep(native.fsopen("tmpfs"));
    expect(native.fsconfigString(context, "size", "64K")).toBe(0);
    expect(native.fsconfigFlag(context, "ro")).toBe(0);
    expect(native.fsconfigCreate(context)).toBe(0);
    const mount = keep(native.fsmount(context, MOUNT_ATTR_NODEV));
    expect(native.getfd(mount)).toBe(1);
    expect(readdirSync(`/proc/self/fd/${mount}`)).toEqual([]);
    expect(isAttached(mount)).toBe(false);
    expect(isAttached(keep(native.openTree(AT_FDCWD, "/", 0)))).toBe(true);
  });

  it("that cannot be made leaves the kernel's reason to be read from its context", () => {
    const context = keep(native.fsopen("overlay"));
    expect(native.fsconfigString(context, "berthd-no-such", "x")).toBe(-EINVAL);
    const text = Buffer.alloc(256);
    expect(text.toString("utf8", 0, readSync(context, text, 0, text.length, null))).toContain("berthd-no-such");
  });

  it("shows its files with the ids of a user namespace, and can be made read-only", () => {
    using folder = new TestFolder({ "tree/file": "x" });
    const tree = keep(native.openTree(AT_FDCWD, join(folder.path, "tree"), OPEN_TREE_CLONE));
    const userns = keep(native.userns(BASE, COUNT, 0));
    expect(native.mountSetattr(tree, MOUNT_ATTR_IDMAP, bad)).toBe(-EBADF);
    expect(native.mountSetattr(tree, MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY, userns)).toBe(0);
    const [stat, touch] = [
      ["stat", "-Lc%u:%g", "/dev/stdin/file"],
      ["touch", "/dev/stdin/other"],
    ].map(([command = "", ...args]) => spawnSync(command, args, { stdio: [tree, "pipe", "pipe"], encoding: "utf8" }));
    expect(stat?.stdout).toBe(`${BASE}:${BASE}\n`);
    expect(touch?.stderr).toContain("Read-only file system");
  });
});

describe("userns (needs root)", needs("root", "nsenter", "setpriv"), () => {
  const inside = (fd: number, ...command: string[]): string => {
    const { stdout, stderr } = spawnSync(command[0] ?? "", command.slice(1), {
      stdio: [fd, "pipe", "pipe"],
      encoding: "utf8",
    });
    return (stdout + stderr).trim().replace(/ +/g, " ");
  };
  const enter = ["nsenter", "--user=/dev/stdin", "--preserve-credentials", "--"];

  it.each([
    ["the caller's own", 0],
    ["another user's", 1234],
  ])("maps the range, is %s, and leaves no process", (_, owner) => {
    const children = (): string => readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
    const alone = children();
    const userns = keep(native.userns(BASE, COUNT, owner));
    expect(children()).toBe(alone);
    expect(native.getfd(userns)).toBe(1);
    expect(inside(userns, ...enter, "cat", "/proc/self/uid_map", "/proc/self/gid_map")).toBe(
      `0 ${BASE} ${COUNT}\n 0 ${BASE} ${COUNT}`,
    );
    // Only its owner, or a capability in the namespace around it, may enter it (user_namespaces(7)).
    const as = (uid: number): string =>
      inside(userns, "setpriv", `--reuid=${uid}`, "--clear-groups", ...enter, "echo", "entered");
    expect(as(1234)).toContain(owner === 1234 ? "entered" : "Operation not permitted");
    expect(as(4321)).toContain("Operation not permitted");
  });

  it("is made though the owner's processes stop every process they can", async () => {
    const owner = 61_007;
    const stop = `import os, signal
os.setgroups([]); os.setresgid(${owner}, ${owner}, ${owner}); os.setresuid(${owner}, ${owner}, ${owner})
print("stopping", flush=True)
while True:
    try: os.kill(-1, signal.SIGSTOP)
    except ProcessLookupError: pass`;
    const hostile = spawn("python3", ["-c", stop], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await once(hostile.stdout, "data");
      // In a process of its own: one that hangs cannot say so.
      const script = `const sys = require("node-gyp-build")(process.cwd());
        for (let i = 0; i < 60; i++) sys.userns(${BASE}, ${COUNT}, ${owner});`;
      const { status, signal } = spawnSync(process.execPath, ["-e", script], {
        timeout: 60_000,
        killSignal: "SIGKILL",
      });
      expect({ status, signal }).toEqual({ status: 0, signal: null });
    } finally {
      hostile.kill("SIGKILL");
      await once(hostile, "exit");
    }
  });

  it("gives the errno of a range or an owner that cannot be, and leaves nothing", () => {
    expect(native.userns(2 ** 32 - 2, 2, 0)).toBe(-EINVAL);
    expect(native.userns(BASE, 0, 0)).toBe(-EINVAL);
    expect(native.userns(BASE, COUNT, 2 ** 32 - 1)).toBe(-EINVAL);
  });

  it("is refused to a user who has not the ids", () => {
    const script = `process.setuid(1234);
      const sys = require("node-gyp-build")(process.cwd());
      console.log(sys.userns(${BASE}, ${COUNT}, 0));`;
    const { stdout, stderr } = spawnSync(process.execPath, ["-e", script], { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: `${-EPERM}\n`, stderr: "" });
  });
});
