/** shift-mount as an operator uses it, on a tree like the root of a small distribution. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, test } from "vitest";
import { programPath } from "../../src/launcher-path.ts";
import { TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { capabilityOf, modeOf, type Outcome, ownerOf, setCapability, toRange } from "./support.ts";

const program = programPath("shift-mount");
const hasStrace = spawnSync("strace", ["-qqq", "true"], { stdio: "ignore" }).status === 0;

function shiftMount(args: readonly string[], env: NodeJS.ProcessEnv = {}): Outcome {
  const options = { encoding: "utf8", env: { ...process.env, ...env } } as const;
  const { status, signal, stdout, stderr } = spawnSync(program, args, options);
  return { code: status, signal, stdout, stderr };
}

/** Mounts at or below a path. */
function mountsBelow(path: string): string[] {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  return points.filter((point) => point === path || point.startsWith(`${path}/`));
}

/** Everything about a tree that a person or a program could see, but for access times. */
function fingerprint(root: string): string[] {
  return ["", ...readdirSync(root, { recursive: true, encoding: "utf8" }).sort()].map((name) => {
    const path = join(root, name);
    const { mode, uid, gid, nlink, rdev, mtimeNs, ctimeNs } = lstatSync(path, { bigint: true });
    const what = lstatSync(path).isFile()
      ? createHash("sha256").update(readFileSync(path)).digest("hex")
      : lstatSync(path).isSymbolicLink() && readlinkSync(path);
    return [name, mode, uid, gid, nlink, rdev, mtimeNs, ctimeNs, what].join(" ");
  });
}

/** What is taken on the disk, in bytes. */
function diskUse(root: string): number {
  const paths = ["", ...readdirSync(root, { recursive: true, encoding: "utf8" })].map((name) => join(root, name));
  return paths.reduce((sum, path) => sum + lstatSync(path).blocks * 512, 0);
}

describe("the command line of shift-mount", () => {
  test.each([
    ["no directories", [], "three directories"],
    ["two directories", ["a", "b"], "three directories"],
    ["an unknown option", ["--once", "a", "b", "c"], "there is no option --once;"],
    ["a range beyond the last id", ["-s", "0xfffffff0", "a", "b", "c"], "ends above the last id"],
    ["a shift that is no number", ["-s", "many", "a", "b", "c"], "--shift many is not a number"],
  ])("%s is one sentence and 100", (_what, args, part) => {
    const { code, stdout, stderr } = shiftMount(args);
    expect({ code, stdout }).toEqual({ code: 100, stdout: "" });
    expect(stderr).toMatch(/^shift-mount: [^\n]+\n$/);
    expect(stderr).toContain(part);
  });
});

describe("shift-mount (needs root, to mount)", needs("root"), () => {
  let folder: TestFolder;
  const at = (name: string): string => join(folder.path, name);

  /** LOWER, shaped like Alpine's root: one program of many names, links, setuid, capabilities, devices. */
  async function lower(): Promise<string> {
    folder = new TestFolder({
      "alpine/bin/busybox": "#!busybox",
      "alpine/bin/bbsuid": "#!suid",
      "alpine/bin/ping": "#!ping",
      "alpine/etc/passwd": "root:x:0:0\n",
      "alpine/home/player/save": "level 7\n",
    });
    const root = at("alpine");
    for (const name of ["cat", "ls", "sh"]) linkSync(join(root, "bin/busybox"), join(root, "bin", name));
    symlinkSync("/bin/busybox", join(root, "bin/ash"));
    chmodSync(join(root, "bin/bbsuid"), 0o4111);
    setCapability(join(root, "bin/ping"));
    chownSync(join(root, "home/player"), 1000, 1000);
    chownSync(join(root, "home/player/save"), 1000, 1000);
    writeFileSync(join(root, "big"), Buffer.alloc(8 << 20, "x"));
    for (const [name, ...kind] of [
      ["null", "c", "1", "3"],
      ["gone", "c", "0", "0"],
      ["pipe", "p"],
    ] as const) {
      mkdirSync(join(root, "dev"), { recursive: true });
      expect(spawnSync("mknod", [join(root, "dev", name), ...kind]).status).toBe(0);
    }
    const server = createServer().listen(join(root, "dev/log"));
    await once(server, "listening");
    server.unref();
    mkdirSync(join(root, "root"));
    writeFileSync(join(root, "root/key"), "secret", { mode: 0 });
    chmodSync(join(root, "root"), 0);
    return root;
  }

  afterEach(() => {
    // Many on one place are not expected, and not left either.
    for (const point of mountsBelow(folder.path)) spawnSync("umount", ["-l", point]);
    folder[Symbol.dispose]();
  });

  test("the classic example: mounted with owners shifted, the tree as it was, no data copied", async () => {
    const root = await lower();
    const before = fingerprint(root);
    const given = `${at("shifted")}/`;
    const { code, stdout, stderr } = shiftMount(["--oneshot", ...toRange, `${root}/`, `${at("int")}/`, given]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(`Mounted ${given}\n18 files under ${given} shifted with 0x30000 using range 0x10000\n`);
    const [first, player] = [0x30000, 0x30000 + 1000].map((id) => `${id}:${id}`);
    const names = readdirSync(at("shifted"), { recursive: true, encoding: "utf8" });
    expect(new Set(names.map((name) => ownerOf(join(at("shifted"), name))))).toEqual(new Set([first, player]));
    expect(ownerOf(at("shifted/home/player/save"))).toBe(player);
    // A character device 0:0 is an overlay's sign for "removed".
    expect(names).not.toContain("dev/gone");
    expect(names).toHaveLength(fingerprint(root).length - 2);

    expect(modeOf(at("shifted/bin/bbsuid"))).toBe("4111");
    expect(capabilityOf(at("shifted/bin/ping"))).toBe(capabilityOf(join(root, "bin/ping"), 0x30000));
    expect(lstatSync(at("shifted/bin/sh"))).toMatchObject({ nlink: 4, ino: lstatSync(at("shifted/bin/ls")).ino });
    expect(readFileSync(at("shifted/bin/sh"), "utf8")).toBe("#!busybox");
    expect(statSync(at("shifted/big")).size).toBe(8 << 20);
    expect(diskUse(at("int"))).toBeLessThan(1 << 20);

    appendFileSync(at("shifted/etc/passwd"), "player:x:1000:1000\n");
    rmSync(at("shifted/big"));
    expect(fingerprint(root)).toEqual(before);
  });

  test("without a shift it is by 0: the owners below the range stay, and each file is counted", async () => {
    const root = await lower();
    const given = `${at("shifted")}/`;
    const { code, stdout } = shiftMount(["--oneshot", `${root}/`, `${at("int")}/`, given]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `Mounted ${given}\n18 files under ${given} shifted with 0x0 using range 0x10000\n`,
    });
    expect([ownerOf(at("shifted")), ownerOf(at("shifted/home/player/save"))]).toEqual(["0:0", "1000:1000"]);
  });

  test("used again, INT is as it was left, and nothing is shifted twice", async () => {
    const root = await lower();
    const args = ["--oneshot", ...toRange, root, at("int"), at("shifted")];
    expect(shiftMount(args).stdout).toMatch(/\n18 files under .* shifted with 0x30000 using range 0x10000\n$/);
    writeFileSync(at("shifted/new"), "");
    rmSync(at("shifted/bin/ping"));
    expect(spawnSync("umount", [at("shifted")]).status).toBe(0);
    // "new" is root's of the host, who wrote it.
    expect(shiftMount(args).stdout).toMatch(/\n18 files under .* range 0x10000\n$/);
    expect([existsSync(at("shifted/bin/ping")), ownerOf(at("shifted/new"))]).toEqual([false, "196608:196608"]);
  });

  test("--idmap shifts without a walk, what is written belongs to the range", needs("setpriv"), async () => {
    const root = await lower();
    const before = fingerprint(root);
    const { code, stdout } = shiftMount(["--idmap", "--oneshot", ...toRange, root, at("int"), at("shifted")]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `Mounted ${at("shifted")}, ids mapped\n1 file under ${at("shifted")} shifted with 0x30000 using range 0x10000\n`,
    });
    expect(ownerOf(at("shifted"))).toBe("196608:196608");
    expect(ownerOf(at("shifted/home/player/save"))).toBe("197608:197608");
    expect(modeOf(at("shifted/bin/bbsuid"))).toBe("4111");
    expect(readdirSync(at("int/upper"))).toEqual([]);
    const written = spawnSync(
      "setpriv",
      [
        "--reuid",
        "197608",
        "--regid",
        "197608",
        "--clear-groups",
        "sh",
        "-c",
        `echo 8 >> ${at("shifted/home/player/save")}`,
      ],
      { encoding: "utf8" },
    );
    expect(written.stderr).toBe("");
    expect(readFileSync(at("shifted/home/player/save"), "utf8")).toBe("level 7\n8\n");
    expect(fingerprint(root)).toEqual(before);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("stays, tells the service manager, and unmounts on %s", async (signal) => {
    const root = await lower();
    const notify = spawn("python3", [join(import.meta.dirname, "../fixtures/notify-socket.py"), at("notify")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const heard = createInterface(notify.stdout)[Symbol.asyncIterator]();
    expect((await heard.next()).value).toBeDefined();
    const child = spawn(program, [root, at("int"), at("shifted")], {
      env: { ...process.env, NOTIFY_SOCKET: at("notify") },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "close");
    try {
      expect((await heard.next()).value).toContain("READY=1");
      expect(mountsBelow(folder.path)).toEqual([at("shifted")]);
      child.kill(signal);
      expect(await ended).toEqual([0, null]);
      expect((await heard.next()).value).toContain("STOPPING=1");
      expect(mountsBelow(folder.path)).toEqual([]);
    } finally {
      child.kill("SIGKILL");
      notify.kill();
      await ended;
    }
  });

  test.each([
    ["a LOWER that is not there", ["nowhere", "int", "at"], "cannot find"],
    ["a LOWER that is a file", ["alpine/etc/passwd", "int", "at"], "is not a directory"],
    ["an INT in a folder that is not there", ["alpine", "no/int", "at"], "cannot make the directory"],
    ["an INT that another mount uses", ["alpine", "used", "at"], "another mount uses INT"],
    ["an INT of another LOWER", ["alpine/etc", "other", "at"], "INT belongs to another LOWER"],
    ["an INT inside LOWER", ["alpine", "alpine/int", "at"], "one is inside the other"],
    ["a LOWER inside INT", ["alpine/etc", "alpine", "at"], "one is inside the other"],
  ])("%s is 111, and nothing is mounted", async (_what, paths, part) => {
    const root = await lower();
    for (const int of ["used", "other"]) shiftMount(["--oneshot", root, at(int), at(`${int}-mount`)]);
    spawnSync("umount", [at("other-mount")]);
    const { code, stdout, stderr } = shiftMount(["--oneshot", ...paths.map(at)]);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toMatch(/^shift-mount: [^\n]+; [^\n]+\n$/);
    expect(stderr).toContain(part);
    expect(mountsBelow(folder.path)).toEqual([at("used-mount")]);
    expect(existsSync(join(root, "int"))).toBe(false);
  });

  test.skipIf(!hasStrace)("a file that cannot be shifted is reported as shift-mount, not as shift-own", async () => {
    const inject = ["-e", "trace=fchownat", "-e", "inject=fchownat:error=EROFS:when=1"];
    const trace = ["-f", "-qqq", "-o", "/dev/null", ...inject];
    const args = [program, "--oneshot", "-j", "1", ...toRange, await lower(), at("int"), at("shifted")];
    const { status, stderr } = spawnSync("strace", [...trace, ...args], { encoding: "utf8" });
    expect(status).toBe(1);
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^shift-mount: cannot change the owner of .+: Read-only file system; /);
    expect(lines[1]).toMatch(/^shift-mount: .+, 1 file failed; nothing is mounted, run it again to continue$/);
    expect(mountsBelow(folder.path)).toEqual([]);
  });

  test("paths with colons, commas, spaces and backslashes are taken as they are", async () => {
    await lower();
    const odd = at("a:b, c\\:d");
    mkdirSync(odd);
    writeFileSync(join(odd, "file"), "");
    expect(shiftMount(["--oneshot", ...toRange, odd, at("i:n\\t"), at("m,t")])).toMatchObject({ code: 0, stderr: "" });
    expect(ownerOf(join(at("m,t"), "file"))).toBe("196608:196608");
    expect(readdirSync(at("i:n\\t/upper"))).toEqual(["file"]);
  });
});
