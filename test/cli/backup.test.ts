import { execFileSync, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { giveName } from "../../src/cli/backup/archive.ts";
import { problemOfExtracted } from "../../src/cli/backup/extracted.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, cli, Lines, start } from "./support.ts";

/** No broker is there, so the commands work on the folder. */
const nowhere = { BERTHD_SOCKET: "/nowhere/broker" };

interface Saved {
  readonly berth: string;
  readonly file: string;
  readonly taken: string;
  readonly pid: number | null;
}

async function backUp(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Saved> {
  const { code, stdout, stderr } = await berth(["backup", "--json", ...args], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [saved] = JSON.parse(stdout) as Saved[];
  if (saved === undefined) throw new Error("no record");
  return saved;
}

const tar = (...args: string[]): string => execFileSync("tar", args, { encoding: "utf8" });

describe("berth backup and restore, without a broker", () => {
  test("what a berth had written is there again, and what it wrote since is gone", async () => {
    using state = new TestFolder({ "roots/lobby/upper/world/save": "one", "roots/lobby/upper/log": "old" });
    using to = new TestFolder();
    const args = ["--state", state.path];
    const { code, stdout, stderr } = await berth(["backup", ...args, "--to", to.path, "lobby"], nowhere);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [name = ""] = readdirSync(to.path);
    const file = join(to.path, name);
    expect(name).toMatch(/^lobby-\d{8}T\d{6}Z\.tar$/);
    expect(stdout).toMatch(new RegExp(`^lobby: saved ${file} \\(\\S+ KiB\\)\\n$`));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(tar("-xOf", file, "berth-backup.json"))).toMatchObject({ berth: "lobby", taken: "stopped" });
    state.write({ "roots/lobby/upper/world/save": "two", "roots/lobby/upper/world/more": "x" });
    const restored = await berth(["restore", ...args, "lobby", file], nowhere);
    expect(restored).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^lobby: restored \S+ of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n$/),
      stderr: "",
    });
    const upper = join(state.path, "roots/lobby/upper");
    expect(readFileSync(join(upper, "world/save"), "utf8")).toBe("one");
    expect(existsSync(join(upper, "world/more"))).toBe(false);
    expect(readdirSync(join(state.path, "roots/lobby"))).toEqual(["upper"]);
  });

  test("--keep leaves the files of before beside, and names them", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one" });
    const args = ["--state", state.path];
    const { file } = await backUp([...args, "--to", state.path, "lobby"], nowhere);
    state.write({ "roots/lobby/upper/save": "two" });
    const { stdout } = await berth(["restore", "--keep", "--json", ...args, "lobby", file], nowhere);
    const [{ before }] = JSON.parse(stdout) as [{ before: string }];
    expect(readFileSync(join(before, "save"), "utf8")).toBe("two");
    expect(readFileSync(join(state.path, "roots/lobby/upper/save"), "utf8")).toBe("one");
  });

  test.each(["gzip", "xz"])("an archive may be packed: %s", async (how) => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one\n".repeat(10_000) });
    const args = ["--state", state.path];
    const { file } = await backUp([...args, "--to", state.path, "--compress", how, "lobby"], nowhere);
    expect(statSync(file).size).toBeLessThan(10_000);
    rmSync(join(state.path, "roots/lobby/upper"), { recursive: true });
    expect((await berth(["restore", ...args, "lobby", file], nowhere)).code).toBe(0);
    expect(readFileSync(join(state.path, "roots/lobby/upper/save"), "utf8")).toHaveLength(40_000);
  });

  // strace counts each call for itself, and one thread of Node makes them, in one order.
  test.each([
    ["rename", ["old"]],
    ["renameat2", ["old"]],
    ["fsync", ["old", "new", "new"]],
  ])(
    "a restore that is killed at any %s leaves all files of before, or all new ones",
    needs("strace"),
    (call, left) => {
      using state = new TestFolder({ "roots/lobby/upper/save": "old" });
      using other = new TestFolder({ "upper/save": "new" });
      const [file, save] = [join(state.path, "a.tar"), join(state.path, "roots/lobby/upper/save")];
      tar("-C", other.path, "-cf", file, "upper");
      const found: string[] = [];
      for (let time = 1; ; time++) {
        writeFileSync(save, "old");
        const words = ["-f", "-o", "/dev/null", "-e", `trace=${call}`, "-e", `inject=${call}:signal=KILL:when=${time}`];
        const command = [process.execPath, cli, "restore", "--state", state.path, "lobby", file];
        const { status } = spawnSync("strace", [...words, ...command], { env: { ...process.env, ...nowhere } });
        if (status === 0) break;
        found.push(readFileSync(save, "utf8"));
      }
      expect(found).toEqual(left);
    },
  );

  test("Ctrl-C leaves no part of an archive, and no process", async () => {
    using state = new TestFolder();
    mkdirSync(join(state.path, "roots/lobby/upper"), { recursive: true });
    writeFileSync(join(state.path, "roots/lobby/upper/big"), Buffer.alloc(64 << 20, "entropy 0123456789"));
    const args = ["backup", "--state", state.path, "--to", state.path, "--compress", "xz", "lobby"];
    const child = start(args, nowhere);
    const partial = (): string[] => readdirSync(state.path).filter((name) => name.startsWith(".berth-backup-"));
    await expect.poll(partial).toHaveLength(1);
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([null, "SIGINT"]);
    expect(readdirSync(state.path)).toEqual(["roots"]);
  });

  test.each([
    ["a berth that is nowhere", ["backup", "nope"], 1, /^berth: there is no berth nope, and no folder /],
    [
      "a file that is nowhere",
      ["restore", "lobby", "/nowhere/a.tar"],
      111,
      /^berth: there is no file \/nowhere\/a\.tar\n$/,
    ],
    ["a path for a name", ["backup", "../lobby"], 100, /^berth: "\.\.\/lobby" is not the name of a berth; /],
    ["a path to restore to", ["restore", "..", cli], 100, /^berth: "\.\." is not the name of a berth; /],
    ["a file that is no archive", ["restore", "lobby", cli], 111, /^berth: tar failed \(exit status 2\): /],
  ])("refuses %s", async (_, [command = "", ...words], status, sentence) => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one" });
    const { code, stderr } = await berth([command, "--state", state.path, ...words], nowhere);
    expect(stderr).toMatch(sentence);
    expect(code).toBe(status);
    expect(readFileSync(join(state.path, "roots/lobby/upper/save"), "utf8")).toBe("one");
    expect(readdirSync(join(state.path, "roots/lobby"))).toEqual(["upper"]);
  });

  test("an archive with a link in the place of the folder is refused, and what it leads to stays", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one", "away/x": "", "a/upper/y": "", "b/z": "" });
    symlinkSync(join(state.path, "away"), join(state.path, "b/upper"));
    const file = join(state.path, "evil.tar");
    tar("-C", join(state.path, "a"), "-cf", file, "--no-recursion", "upper/");
    tar("-C", join(state.path, "b"), "-rf", file, "upper");
    const { code, stderr } = await berth(["restore", "--state", state.path, "lobby", file], nowhere);
    expect(stderr).toMatch(/^berth: \S+evil\.tar cannot be restored: upper in it is no folder\n$|^berth: tar failed/);
    expect(code).toBe(111);
    expect(readFileSync(join(state.path, "roots/lobby/upper/save"), "utf8")).toBe("one");
    expect(readdirSync(join(state.path, "away"))).toEqual(["x"]);
    expect(readdirSync(join(state.path, "roots/lobby"))).toEqual(["upper"]);
  });

  test("an archive with a name of a file outside of its folder is refused, and leaves what there is", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one", "evil/upper/x": "", "evil/outside": "" });
    linkSync(join(state.path, "evil/outside"), join(state.path, "evil/upper/shared"));
    const file = join(state.path, "evil.tar");
    tar("-C", join(state.path, "evil"), "-cf", file, "outside", "upper");
    // berth restore extracts no other member than the folder, so that tar cannot make the link.
    const { code, stderr } = await berth(["restore", "--state", state.path, "lobby", file], nowhere);
    expect({ code, stderr }).toEqual({ code: 111, stderr: expect.stringMatching(/^berth: tar failed .*outside/) });
    expect(readdirSync(join(state.path, "roots/lobby"))).toEqual(["upper"]);
    expect(readFileSync(join(state.path, "roots/lobby/upper/save"), "utf8")).toBe("one");
  });

  test("a tree that shares a file with the outside is no berth's", async () => {
    using folder = new TestFolder({ "upper/a": "", "upper/d/own": "", outside: "" });
    const at = (name: string): string => join(folder.path, name);
    linkSync(at("upper/d/own"), at("upper/again"));
    const { signal } = new AbortController();
    expect(await problemOfExtracted(folder.path, signal)).toBeUndefined();
    linkSync(at("outside"), at("upper/d/shared"));
    expect(await problemOfExtracted(folder.path, signal)).toBe(
      "d/shared in it is the same file as one outside of upper",
    );
  });

  test("an archive with a device is refused, and leaves what there is", needs("root"), async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one", "evil/upper/x": "" });
    execFileSync("mknod", [join(state.path, "evil/upper/disk"), "b", "8", "0"]);
    const file = join(state.path, "evil.tar");
    tar("-C", join(state.path, "evil"), "-cf", file, "upper");
    expect(await berth(["restore", "--state", state.path, "lobby", file], nowhere)).toEqual({
      code: 111,
      stdout: "",
      stderr: `berth: ${file} cannot be restored: it has a device node, block 8:0 disk\n`,
    });
    expect(readdirSync(join(state.path, "roots/lobby"))).toEqual(["upper"]);
  });

  test("an archive is never written over a file, nor through a link", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one" });
    const args = ["--state", state.path, "--to", state.path, "lobby"];
    const { file } = await backUp(args, nowhere);
    const before = readFileSync(file);
    const { code, stderr } = await berth(["backup", ...args], nowhere);
    // Within the same second the name is the same.
    if (code !== 0) expect(stderr).toContain(`there is a file ${file} already`);
    expect(readFileSync(file)).toEqual(before);
    expect(readdirSync(state.path).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("an archive gets its name also where there are no hard links, and replaces nothing there", () => {
    using folder = new TestFolder({ archive: "new", there: "old" });
    const link = (): never => {
      throw Object.assign(new Error("link"), { code: "EPERM" });
    };
    const at = (name: string): string => join(folder.path, name);
    expect(() => giveName(at("archive"), at("there"), link)).toThrow(/there is a file \S+there already/);
    giveName(at("archive"), at("name"), link);
    expect(readdirSync(folder.path).sort()).toEqual(["name", "there"]);
    expect(readFileSync(at("there"), "utf8")).toBe("old");
  });

  test("files of a range are not restored to a berth without one", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one" });
    const about = { berth: "lobby", time: "2026-01-01T00:00:00Z", range: { base: 524288, count: 65536 }, images: [] };
    using other = new TestFolder({ "upper/save": "two", "berth-backup.json": JSON.stringify(about) });
    const file = join(state.path, "a.tar");
    tar("-C", other.path, "-cf", file, "berth-backup.json", "upper");
    const { code, stderr } = await berth(["restore", "--state", state.path, "lobby", file], nowhere);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining("berth lobby has no range of ids yet"),
    });
    expect(readFileSync(join(state.path, "roots/lobby/upper/save"), "utf8")).toBe("one");
  });

  test("an archive without the folder is refused, and leaves what there is", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "one", "other/x": "" });
    const file = join(state.path, "other.tar");
    tar("-C", state.path, "-cf", file, "other");
    const { code, stderr } = await berth(["restore", "--state", state.path, "lobby", file], nowhere);
    expect({ code, stderr }).toEqual({
      code: 111,
      stderr: `berth: ${file} has no folder upper, so it is no backup of a berth\n`,
    });
    expect(readdirSync(join(state.path, "roots/lobby"))).toEqual(["upper"]);
  });
});

describe("berth backup and restore, with a broker", needs("root"), () => {
  /** A broker with a berth `lobby` whose root keeps files, and one without a root. */
  async function broker(state: TestFolder) {
    state.write({ "tree/map": "dm6\n" });
    const env = { BERTHD_SOCKET: "/nowhere/broker" };
    const imported = await berth(["image", "import", "--state", state.path, "arena", join(state.path, "tree")], env);
    expect(imported.code).toBe(0);
    const lobby = '[root]\nimage = "arena"\n[server]\nuser = "range"\n';
    const plain = '[sockets.web]\nlisten = ["tcp://127.0.0.1:0"]\n[server]\nuser = "nobody"\n';
    return await spawnBroker({ "lobby.toml": lobby, "plain.toml": plain }, ["--state", state.path]);
  }

  const run = async (env: NodeJS.ProcessEnv, script: string): Promise<string> => {
    const { code, stdout, stderr } = await berth(["run", "lobby", "--", "/bin/sh", "-c", script], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  };

  test("the next server sees the restored files, as an owner of its range", async () => {
    using state = new TestFolder();
    await using served = await broker(state);
    const env = { BERTHD_SOCKET: served.socket };
    await run(env, "echo one >{root}/save; rm {root}/map");
    const saved = await backUp(["--to", state.path, "lobby"], env);
    expect(saved).toMatchObject({ taken: "stopped", pid: null });
    await run(env, "echo two >{root}/save");
    expect(await berth(["restore", "lobby", saved.file], env)).toMatchObject({ code: 0, stderr: "" });
    // The removed file of the image stays removed: overlayfs's mark for it is in the archive.
    expect(await run(env, "cat {root}/save; ls {root}; echo three >>{root}/save")).toBe("one\nsave\n");
  });

  test("nothing in an archive keeps an owner outside the range", async () => {
    using state = new TestFolder();
    await using served = await broker(state);
    const env = { BERTHD_SOCKET: served.socket };
    await run(env, "echo one >{root}/save");
    state.write({ "evil/upper/shell": "#!/bin/sh\n" });
    const evil = join(state.path, "evil/upper/shell");
    chownSync(evil, 0, 0);
    chmodSync(evil, 0o4755);
    const file = join(state.path, "evil.tar");
    tar("-C", join(state.path, "evil"), "-cf", file, "upper");
    expect(await berth(["restore", "lobby", file], env)).toMatchObject({ code: 0, stderr: "" });
    const { uid, gid } = lstatSync(join(state.path, "roots/lobby/upper/shell"));
    expect([uid % 65_536, gid % 65_536]).toEqual([0, 0]);
    expect(Math.min(uid, gid)).toBeGreaterThanOrEqual(65_536);
  });

  test("a server that was started by hand is not ended, since nothing would start it again", async () => {
    using state = new TestFolder();
    await using served = await broker(state);
    const env = { BERTHD_SOCKET: served.socket };
    const child = start(["run", "lobby", "--", "/bin/sh", "-c", "echo on >{root}/x; echo on; exec sleep 1000"], env);
    await new Lines(child.stdout).find((line) => line === "on");
    const { code, stderr } = await berth(["backup", "--to", state.path, "lobby"], env);
    expect({ code, stderr }).toEqual({
      code: 111,
      stderr: `berth: pid ${child.pid} of berth lobby was started by hand, so nothing would start it again; end it first: berth stop lobby\n`,
    });
    const live = await backUp(["--live", "--to", state.path, "lobby"], env);
    expect(live).toMatchObject({ taken: "live", pid: child.pid });
    child.kill("SIGKILL");
    await once(child, "exit");
  });

  test("a server on demand is stopped, and the next packet starts it", async () => {
    using state = new TestFolder();
    await using served = await broker(state);
    const env = { BERTHD_SOCKET: served.socket };
    const port = await freePort();
    const server = `command = ["/bin/sh", "-c", "echo x >>{root}/starts; exec sleep 1000"]\nstart = "on-demand"\n`;
    const game = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[root]\nimage = "arena"\n`;
    served.folder.write({ "config/game.toml": `${game}[server]\nuser = "range"\n${server}` });
    expect((await berth(["reload"], env)).code).toBe(0);
    const player = createSocket("udp4");
    player.send("hello", port, "127.0.0.1");
    const saves = join(state.path, "roots/game/upper/starts");
    await expect.poll(() => existsSync(saves) && readFileSync(saves, "utf8")).toBe("x\n");
    player.close();
    const { code, stdout, stderr } = await berth(["backup", "--to", state.path, "game"], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^game: saved \S+ \(\S+ KiB\); its server was stopped, and the next packet starts it\n$/);
    // It never read that packet, so this is the next one, too.
    await expect.poll(() => readFileSync(saves, "utf8")).toBe("x\nx\n");
    const { lease } = JSON.parse((await berth(["show", "--json", "game"], env)).stdout) as { lease: { pid: number } };
    // It outlives its broker.
    onTestFinished(() => void process.kill(lease.pid, "SIGKILL"));
  });

  test("a berth without a root is told what to do instead", async () => {
    using state = new TestFolder();
    await using served = await broker(state);
    const env = { BERTHD_SOCKET: served.socket };
    const { code, stderr } = await berth(["backup", "plain"], env);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^berth: berth plain has no root, .*: berth stop plain; tar -cf plain\.tar FOLDER; berth start plain\n$/,
    );
    expect((await berth(["backup", "lobby"], env)).stderr).toBe(
      "berth: no server has had berth lobby yet, so there is nothing to archive\n",
    );
  });
});
