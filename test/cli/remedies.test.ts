/** Messages name a remedy. Each is taken from its message as it stands, pasted into a shell or a file, and works. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Ranges } from "../../src/rootfs/ranges/ranges.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, cli, type Ended, start } from "./support.ts";

const user = process.geteuid?.() === 0 ? 'user = "nobody"\n' : "";
const socket = '[sockets.http]\nlisten = ["tcp://127.0.0.1:0"]\n';

describe("a remedy for a shell", () => {
  let folder: TestFolder;
  let broker: BrokerProcess;
  let state: string;

  beforeEach(async () => {
    folder = new TestFolder({ "bin/berth": `#!/bin/sh\nexec ${process.execPath} ${cli} "$@"\n`, "tree/motd": "hello" });
    chmodSync(join(folder.path, "bin/berth"), 0o755);
    state = join(folder.path, "state");
    const files = {
      "lobby.toml": `${socket}[server]\ncommand = ["sleep", "1000"]\n${user}`,
      "bare.toml": `${socket}[server]\n${user}`,
    };
    broker = await spawnBroker(files, ["--state", state]);
  });
  afterEach(async () => {
    await broker[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const environment = (): NodeJS.ProcessEnv => ({
    BERTHD_SOCKET: broker.socket,
    PATH: `${join(folder.path, "bin")}:${process.env["PATH"]}`,
  });

  /** What the message of `berth WORDS` tells to run: the text that `remedy` captures. */
  async function remedyOf(words: string, remedy: RegExp): Promise<string> {
    const { code, stderr } = await berth(words.split(" "), environment());
    expect(code).not.toBe(0);
    const [, command] = remedy.exec(stderr) ?? [];
    if (command === undefined) throw new Error(`no remedy in: ${stderr}`);
    return command;
  }

  async function paste(command: string): Promise<Ended> {
    const shell = spawn("sh", ["-c", command], { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    shell.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    shell.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const [code] = await once(shell, "close");
    return { code, stdout, stderr };
  }

  const images = (...words: string[]): Promise<Ended> => berth(["image", ...words], environment());

  test("a berth that another has is taken over", async () => {
    const first = start(["run", "lobby"], environment());
    await broker.logged(({ event }) => event === "acquired");
    const command = await remedyOf("run lobby", /to take over: (berth run .*)\n/);
    expect(command).toBe("berth run --replace try lobby");
    const second = spawn("sh", ["-c", `exec ${command}`], { env: environment(), stdio: "ignore" });
    await broker.logged(({ event }) => event === "handover");
    for (const child of [second, first]) child.kill("SIGKILL");
    await Promise.all([once(second, "close"), once(first, "close")]);
  });

  test("a berth that nobody has is taken", async () => {
    const command = await remedyOf("run --replace must lobby -- true", /; to take it: (berth run .*)\n/);
    expect(await paste(`${command} -- true`)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("a berth without server.command gets one", async () => {
    const command = await remedyOf("run bare", /give a command: (berth run .*)\n/);
    expect(await paste(command.replace("COMMAND", "true"))).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("a server without a user gets one (needs root)", needs("root"), async () => {
    broker.folder.write({ "config/bare.toml": socket });
    await paste("berth reload");
    const line = await remedyOf("run bare -- id -un", /set (server\.user = "NAME")/);
    const [, key = ""] = /^server\.(.*)$/.exec(line.replace("NAME", "nobody")) ?? [];
    broker.folder.write({ "config/bare.toml": `${socket}[server]\n${key}\n` });
    expect(await paste("berth reload && berth run bare -- id -un")).toMatchObject({
      code: 0,
      stdout: "reloaded: 2 berths\nnobody\n",
    });
  });

  test.each(["run nonesuch", "show nonesuch"])("a berth that is not there: berth %s", async (words) => {
    const command = await remedyOf(words, /`(berth ls)` lists/);
    expect(await paste(command)).toMatchObject({ code: 0, stdout: expect.stringContaining("\nlobby ") });
  });

  test("an option behind the berth's name goes before it", async () => {
    const command = await remedyOf("run lobby --dry-run", /before it: (berth run .*)\. To run/);
    expect(await paste(command)).toMatchObject({ code: 0, stdout: expect.stringContaining("sleep") });
  });

  test("an image that is not there is imported, or found in the list", async () => {
    broker.folder.write({ "config/rooted.toml": `[root]\nimage = "arena"\nshift = "none"\n[server]\n${user}` });
    await paste("berth reload");
    const command = await remedyOf("run rooted -- true", /import it: `(berth image import .*)`/);
    expect((await paste(command.replace("FOLDER", join(folder.path, "tree")))).code).toBe(0);
    const list = await remedyOf("image rm nonesuch --force", /`(berth image ls)`/);
    expect(await paste(list)).toMatchObject({ code: 0, stdout: expect.stringContaining("\narena ") });
  });

  test("the current version of an image is removed after another one is in use", async () => {
    for (const version of ["one", "two"])
      await images("import", "arena", join(folder.path, "tree"), "--version", version);
    const command = await remedyOf("image rm arena@two --force", /first run `(berth image use .*?)`/);
    expect((await paste(command)).code).toBe(0);
    expect((await images("rm", "arena@two", "--force")).code).toBe(0);
  });

  test("a range is free once the state of its berth is removed", async () => {
    using ranges = Ranges.open(join(state, "ranges"));
    // The last range of all: processes of tests beside this one are in the first ones.
    ranges.reserve("gone", 0x6fff_0000);
    const files = join(state, "roots/gone");
    folder.write({ "state/roots/gone/upper/save": "" });
    const command = await remedyOf("range forget gone", /remove it first \((rm -r .*?)\)/);
    expect(command).toBe(`rm -r ${files}`);
    expect(await paste(`${command} && berth range forget gone`)).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(files)).toBe(false);
  });

  test("a berth that is not there is written before it is edited", async () => {
    const config = join(broker.folder.path, "config");
    const command = await remedyOf(`edit --config ${config} tanks`, /to write it: (berth new .*)\n/);
    const rest = `--config ${config} --from bzflag --dry-run${user && " --user nobody"}`;
    expect(await paste(`${command} ${rest}`)).toMatchObject({ code: 0, stderr: "" });
  });

  test("a berth of a package is copied, and the copy edited", async () => {
    folder.write({ "own/.keep": "" });
    const [packaged, own] = [join(broker.folder.path, "config"), join(folder.path, "own")];
    const words = `--config ${packaged} --config ${own}`;
    const command = await remedyOf(`edit ${words} lobby`, /: (cp .* && berth edit lobby)\n/);
    expect(await paste(`export EDITOR=true; ${command} ${words}`)).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(join(own, "lobby.toml"))).toBe(true);
  });

  test("a berth that is masked is there again", async () => {
    const config = join(broker.folder.path, "config");
    symlinkSync("/dev/null", join(config, "masked.toml"));
    const command = await remedyOf(`edit --config ${config} masked`, /to have the berth again: (rm .*)\n/);
    expect((await paste(`${command} && berth check ${config}`)).code).toBe(0);
  });

  test("a file that somebody else has changed is compared, and written over", async () => {
    const path = join(broker.folder.path, "config/lobby.toml");
    folder.write({ "bin/editor": `#!/bin/sh\necho "# theirs" >> ${path}; echo "# mine" >> "$1"\n` });
    chmodSync(join(folder.path, "bin/editor"), 0o755);
    const { stderr } = await paste(
      `TMPDIR=${folder.path} EDITOR=editor berth edit --config ${join(broker.folder.path, "config")} lobby`,
    );
    const [, compare = "", save = ""] = /to compare: (diff .*); to save yours: (cp .*)\n/.exec(stderr) ?? [];
    expect((await paste(compare)).stdout).toMatch(/^-# theirs\n\+# mine$/m);
    expect((await paste(save)).code).toBe(0);
    expect(readFileSync(path, "utf8")).toMatch(/# mine\n$/);
  });

  test("a server that has no log is run in the terminal", async () => {
    const command = await remedyOf(`logs --state ${state} lobby`, /to run it in this terminal: (berth run .*)\n/);
    expect(await paste(`${command} -- true`)).toMatchObject({ code: 0, stderr: "" });
  });

  test("a command that is misspelt is looked up in the help", async () => {
    expect((await paste(await remedyOf("lss", /see (berth --help)\n/))).code).toBe(0);
  });
});

describe("a remedy for a berth file", () => {
  test.each([
    [
      "a command of one text",
      `${socket}[server]\ncommand = "/bin/echo --port 5"\n`,
      /^ {2}write (command = .*)$/m,
      /^command.*$/m,
    ],
    [
      "an index too many",
      `${socket}[server]\ncommand = ["/bin/echo", "{fd:http:1}"]\n`,
      /^ {2}write (\{.*\})$/m,
      /\{.*?\}/,
    ],
    [
      "a port above 65535",
      '[sockets.http]\nlisten = ["tcp://127.0.0.1:279600"]\n',
      /^ {2}write ("udp:[^"]*")/m,
      /"tcp.*?"/,
    ],
  ])("%s: what it says to write is right", async (_, text, remedy, place) => {
    using folder = new TestFolder({ "config/a.toml": `${text}` });
    const check = (): Promise<Ended> => berth(["check", join(folder.path, "config")]);
    const { code, stdout, stderr } = await check();
    expect(code).toBe(1);
    const [, written] = remedy.exec(`${stdout}${stderr}`) ?? [];
    if (written === undefined) throw new Error(`no remedy in: ${stdout}${stderr}`);
    folder.write({ "config/a.toml": text.replace(place, () => written) });
    expect((await check()).code).toBe(0);
  });
});
