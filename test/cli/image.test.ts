/** `berth image`: on a state folder of its own, with what people and programs read, and every refusal. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { acquire } from "../../src/client/acquire.ts";
import { Images } from "../../src/rootfs/images/images.ts";
import { startBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, cli, type Ended, Lines } from "./support.ts";

let folder: TestFolder;
let state: string;

beforeEach(() => {
  folder = new TestFolder({ "tree/etc/motd": "welcome\n", "config/none.toml": "" });
  state = join(folder.path, "state");
});

afterEach(() => {
  folder[Symbol.dispose]();
});

const image = (command: string, ...args: string[]): Promise<Ended> =>
  berth(["image", command, ...args, "--state", state]);
const add = (version: string): Promise<Ended> =>
  image("import", "arena", join(folder.path, "tree"), "--version", version);

describe("berth image", () => {
  test("import says each step and what came of it; ls shows it, with a star at the current version", async () => {
    const { code, stdout, stderr } = await add("one");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "berth: copying\nberth: comparing\nberth: flushing\n" });
    expect(stdout).toMatch(/^imported arena@one: 3 files, 8 B, sha256:[\da-f]{64}\n$/);
    const json = await image("import", "arena", join(folder.path, "tree"), "--version", "two", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ name: "arena", version: "two", entries: 3, bytes: 8 });
    const { stdout: table } = await image("ls");
    expect(table.split("\n")[0]).toMatch(/^IMAGE +VERSION +FILES +SIZE +IMPORTED +FROM +HELD BY$/);
    expect(table).toMatch(/^arena +two \* +3 +8 B +20\S+ \d\d:\d\d +\/\S+tree +-$/m);
    expect(table).toMatch(/^arena +one +3 /m);
    expect((await image("ls", "--names")).stdout).toBe("arena@two\narena@one\n");
    expect(JSON.parse((await image("ls", "--json")).stdout)).toMatchObject([
      { version: "two", current: true, holders: [], source: { kind: "directory" } },
      { version: "one", current: false },
    ]);
  });

  test("use switches, rm removes what is not current; the current one only with the rest", async () => {
    for (const version of ["one", "two"]) await add(version);
    expect(await image("use", "arena@one")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(new Images(join(state, "images")).resolve("arena")).toMatchObject({ version: "one" });
    expect(await image("rm", "arena@one")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("berth image use arena@two"),
    });
    expect((await image("rm", "arena@two")).code).toBe(0);
    expect((await image("rm", "arena")).code).toBe(0);
    expect((await image("ls")).stdout).toBe("no images\n");
  });

  test("rm is refused while somebody holds it, and says who", async () => {
    await add("one");
    const images = new Images(join(state, "images"));
    const version = images.resolve("arena");
    if ("problem" in version) throw new Error(version.problem);
    using _held = images.hold(version);
    const { code, stderr } = await image("rm", "arena");
    expect(code).toBe(1);
    expect(stderr).toContain(`(pid ${process.pid}) holds it for running servers`);
    expect((await image("ls")).stdout).toContain(`(pid ${process.pid})`);
    expect((await image("rm", "arena", "--force")).code).toBe(1);
  });

  test("ls and rm name the berths whose servers run on a version (needs root)", needs("root"), async () => {
    await add("one");
    await add("two");
    const files = {
      "arena.toml": '[root]\nimage = "arena@one"\n',
      "idle.toml": '[root]\nimage = "arena@one"\n',
    };
    await using broker = await startBroker(files, { state });
    const at = ["--socket", broker.socket];
    const tenancy = await acquire("arena", { socket: broker.socket });
    const { stdout } = await berth([...at, "image", "ls"]);
    expect(stdout).toMatch(/^arena +one .* arena$/m);
    expect(stdout).toMatch(/^arena +two \* .* -$/m);
    expect(JSON.parse((await berth([...at, "image", "ls", "--json"])).stdout)).toMatchObject([
      { version: "two", berths: [] },
      { version: "one", berths: ["arena"] },
    ]);
    expect((await berth([...at, "image", "ls", "--state", state])).stdout).toMatch(/ arena$/m);
    const config = ["--config", join(folder.path, "config")];
    expect(await berth([...at, "image", "rm", "arena@one", ...config])).toEqual({
      code: 1,
      stdout: "",
      stderr: "berth: servers of arena run on arena@one; stop them first: berth stop arena\n",
    });
    await tenancy.release();
    expect((await berth([...at, "image", "rm", "arena@one", ...config])).code).toBe(0);
  });

  test("rm is refused while a berth is configured with it, unless --force", async () => {
    for (const version of ["one", "two"]) await add(version);
    folder.write({ "berths/lobby.toml": '[root]\nimage = "arena"\n[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    const config = ["--config", join(folder.path, "berths")];
    for (const reference of ["arena", "arena@two"]) {
      const refused = await image("rm", reference, ...config);
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("the configuration of lobby; remove it"),
      });
    }
    expect((await image("rm", "arena@one", ...config)).code).toBe(0);
    folder.write({ "berths/wrong.toml": "nonsense" });
    expect((await image("rm", "arena", ...config)).stderr).toContain("does not show which berths need the image");
    expect((await image("rm", "arena", "--force", ...config)).code).toBe(0);
  });

  test.each([
    [
      "import of a source that is not there",
      ["import", "arena", "/nonexistent"],
      100,
      "is not a folder or a casync index",
    ],
    ["import under a name that is none", ["import", "../x", "/tmp"], 100, "is not a valid name of a version"],
    ["rm of an image that is not there", ["rm", "arena", "--force"], 1, "there is no image arena"],
    ["rm of what is no name", ["rm", "/etc"], 100, "is not the name of an image"],
    ["use of an image without a version", ["use", "arena"], 100, "NAME@VERSION"],
    ["use of one that is not there", ["use", "arena@one"], 1, "has no version one"],
  ])("%s is one sentence", async (_what, [command = "", ...args], code, part) => {
    const ended = await image(command, ...args);
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: "" });
    expect(ended.stderr).toMatch(/^berth: [^\n]+\n$/);
    expect(ended.stderr).toContain(part);
    expect(existsSync(join(state, "images/arena"))).toBe(false);
  });

  test("import of device nodes is refused, or tells their number (needs root)", needs("root"), async () => {
    execFileSync("mknod", [join(folder.path, "tree/sda"), "b", "8", "0"]);
    const refused = await add("one");
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^berth: .*\/tree has a device node: sda \(block 8:0\); .*--drop-devices.*\n$/);
    const args = ["arena", join(folder.path, "tree"), "--drop-devices"];
    expect((await image("import", ...args)).stdout).toMatch(/^imported \S+: 3 files \(1 device node dropped\), 8 B, /);
    const json = await image("import", ...args, "--version", "two", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ version: "two", droppedDevices: 1 });
  });

  test("an interrupt ends an import, which cleans up, and the shell sees the interrupt", async () => {
    for (let n = 0; n < 3000; n++) writeFileSync(join(folder.path, `tree/${n}`), "x");
    writeFileSync(join(folder.path, "tree/hole"), "");
    truncateSync(join(folder.path, "tree/hole"), 8 * 2 ** 30); // seconds of comparing
    const args = ["image", "import", "arena", join(folder.path, "tree"), "--state", state];
    const child = spawn(process.execPath, [cli, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    const ended = once(child, "close");
    await new Lines(child.stderr).find((line) => line === "berth: copying");
    child.kill("SIGINT");
    expect(await ended).toEqual([null, "SIGINT"]);
    expect(readdirSync(join(state, "images"))).toEqual([".work"]);
    expect(readdirSync(join(state, "images/.work"))).toEqual([]);
  });

  test("on a terminal one line changes, and is gone at the end", needs("script"), async () => {
    const args = [process.execPath, cli, "image", "import", "arena", join(folder.path, "tree"), "--state", state];
    const log = join(folder.path, "typescript");
    const child = spawn("script", ["-qec", args.join(" "), log], { stdio: "ignore" });
    await once(child, "close");
    const typed = readFileSync(log, "utf8");
    const line = "\r\u001b[K";
    // Each step once at least: it is told again every tenth of a second.
    const steps = ["copying: 1", "comparing: 1", "flushing: 3"].map((step) => `(?:${line}${step} files)+`).join("");
    expect(typed.replaceAll("\u001b[K", "")).toMatch(
      new RegExp(`${steps}${line}imported arena@`.replaceAll("\u001b[K", "")),
    );
  });
});
