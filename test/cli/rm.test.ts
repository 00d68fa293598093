import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, berths, cli, endServersWithTest, Lines, start } from "./support.ts";

describe("berth rm", () => {
  test("removes the file, the drop-ins and the server, and leaves the other berths alone", async () => {
    const drop = { "lobby.toml.d/port.toml": '[server]\nstop-signal = "SIGINT"\n' };
    await using broker = await spawnBroker({ ...berths, ...drop });
    const env = { BERTHD_SOCKET: broker.socket };
    endServersWithTest(broker.socket);
    const config = join(broker.folder.path, "config");
    const server = start(["run", "lobby", "--", "sh", "-c", "echo on; exec sleep 1000"], env);
    await new Lines(server.stdout).find((line) => line === "on");
    const ended = once(server, "exit");
    const said = await berth(["rm", "--yes", "--config", config, "lobby"], env);
    expect(said).toEqual({
      code: 0,
      stdout: `lobby: stopped pid ${server.pid}, removed ${config}/lobby.toml and ${config}/lobby.toml.d\n`,
      stderr: "",
    });
    expect(await ended).toEqual([null, "SIGINT"]);
    expect(readdirSync(config).sort()).toEqual(["arena@.toml", "arena@alice.toml", "arena@bob.toml"]);
    expect((await berth(["ls", "--names"], env)).stdout).toBe("arena@alice\narena@bob\n");
  });

  test("puts the files back if the broker refuses to reload, and the server goes on", async () => {
    await using broker = await spawnBroker(berths);
    const env = { BERTHD_SOCKET: broker.socket };
    endServersWithTest(broker.socket);
    const config = join(broker.folder.path, "config");
    const server = start(["run", "lobby", "--", "sh", "-c", "echo on; exec sleep 1000"], env);
    await new Lines(server.stdout).find((line) => line === "on");
    broker.folder.write({ "config/bad.toml": "x = 1" });
    const { code, stdout, stderr } = await berth(["rm", "--yes", "--config", config, "lobby"], env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("bad.toml:1: ");
    expect(readdirSync(config)).toContain("lobby.toml");
    expect((await berth(["show", "lobby"], env)).stdout).toContain(String(server.pid));
  });

  test("says what a server wrote, and how to remove it", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "x" });
    await using broker = await spawnBroker(berths, ["--state", state.path]);
    const env = { BERTHD_SOCKET: broker.socket };
    const config = join(broker.folder.path, "config");
    const { stdout } = await berth(["rm", "--yes", "--json", "--config", config, "lobby"], env);
    const data = join(state.path, "roots/lobby");
    expect(JSON.parse(stdout)).toEqual([
      { berth: "lobby", files: [join(config, "lobby.toml")], pid: null, data, deleted: [] },
    ]);
    expect(existsSync(join(data, "upper/save"))).toBe(true);
  });

  test("--data deletes what the server wrote and its log, and nothing of another berth or an image", async () => {
    using state = new TestFolder({
      "roots/lobby/upper/save": "x",
      "roots/lobby2/upper/save": "x",
      "images/arena/1/tree/file": "x",
      "logs/lobby.log": "x",
      "logs/lobby.log.1": "x",
      "logs/lobby2.log": "x",
    });
    symlinkSync(join(state.path, "images"), join(state.path, "roots/lobby/upper/link"));
    await using broker = await spawnBroker(berths, ["--state", state.path]);
    const env = { BERTHD_SOCKET: broker.socket };
    const config = join(broker.folder.path, "config");
    const { code, stdout } = await berth(["rm", "--data", "--yes", "--config", config, "lobby"], env);
    const deleted = ["roots/lobby", "logs/lobby.log", "logs/lobby.log.1"].map((name) => join(state.path, name));
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `lobby: removed ${[join(config, "lobby.toml"), ...deleted].join(" and ")}\n`,
    });
    expect(deleted.filter((path) => existsSync(path))).toEqual([]);
    for (const kept of ["roots/lobby2/upper/save", "images/arena/1/tree/file", "logs/lobby2.log"])
      expect(existsSync(join(state.path, kept)), kept).toBe(true);
  });

  test("the command that it names deletes what the server of a removed berth wrote", async () => {
    using state = new TestFolder({ "roots/lobby/upper/save": "x" });
    await using broker = await spawnBroker(berths, ["--state", state.path]);
    const env = { BERTHD_SOCKET: broker.socket };
    const config = join(broker.folder.path, "config");
    const { stdout } = await berth(["rm", "--yes", "--config", config, "lobby"], env);
    const [, command = ""] = /; to delete that: berth (.*)\n$/.exec(stdout) ?? [];
    expect(command).toBe(`rm --data --yes --config ${config} lobby`);
    const data = join(state.path, "roots/lobby");
    expect(await berth(command.split(" "), env)).toEqual({ code: 0, stdout: `lobby: removed ${data}\n`, stderr: "" });
    expect(existsSync(data)).toBe(false);
    expect(await berth(command.split(" "), env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("nothing to remove"),
    });
  });

  test("takes patterns, which match whole names", async () => {
    await using broker = await spawnBroker(berths);
    const env = { BERTHD_SOCKET: broker.socket };
    const config = join(broker.folder.path, "config");
    const none = await berth(["rm", "--yes", "--config", config, "aren?"], env);
    expect(none).toEqual({ code: 1, stdout: "", stderr: 'berth: no berth matches "aren?"; `berth ls` lists them\n' });
    const { code, stdout } = await berth(["rm", "--yes", "--config", config, "arena@*", "lobby", "l?bby"], env);
    expect(code).toBe(0);
    expect(stdout.match(/^[^:]+/gm)).toEqual(["arena@alice", "arena@bob", "lobby"]);
    expect(readdirSync(config)).toEqual(["arena@.toml"]);
  });

  test("asks first, so without a terminal and --yes it removes nothing", async () => {
    using folder = new TestFolder(berths);
    const { code, stderr } = await berth(["rm", "--config", folder.path, "lobby"]);
    expect({ code, stderr }).toEqual({
      code: 100,
      stderr: "berth: nobody is there to ask; to remove berth lobby: berth rm --yes lobby\n",
    });
    expect(existsSync(join(folder.path, "lobby.toml"))).toBe(true);
  });

  test.each([
    ["maybe\nno\n", false],
    ["yes\n", true],
  ])("on a terminal it takes yes and no for an answer: %j", needs("script"), async (typed, isRemoved) => {
    await using broker = await spawnBroker(berths);
    const config = join(broker.folder.path, "config");
    const command = [process.execPath, cli, "rm", "--socket", broker.socket, "--config", config, "lobby"].join(" ");
    const child = spawn("script", ["-qec", command, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
    let shown = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      shown += part;
      if (!child.stdin.writableEnded && shown.includes("[yes/no]")) child.stdin.end(typed);
    });
    expect(await once(child, "close")).toEqual([0, null]);
    expect(shown).toContain(`Stop the server of berth lobby, and remove ${config}/lobby.toml? [yes/no]`);
    expect(shown.includes("Answer yes or no.")).toBe(!isRemoved);
    expect(shown).toContain(isRemoved ? `lobby: removed ${config}/lobby.toml` : "lobby: stays");
    expect(existsSync(join(config, "lobby.toml"))).toBe(!isRemoved);
  });

  test("without a broker the files stay", async () => {
    using folder = new TestFolder(berths);
    const args = ["rm", "--yes", "--socket", "/nowhere/broker", "--config", folder.path, "lobby"];
    expect(await berth(args)).toMatchObject({ code: 111, stdout: "" });
    expect(readdirSync(folder.path)).toContain("lobby.toml");
  });

  test.each([
    ["a berth of a package", "arena@alice", 1, /belongs to a package, so it stays; .*ln -sf \/dev\/null /],
    ["no berth", "nope", 1, /^berth: there is no \S+nope\.toml, so there is nothing to remove\n$/],
    ["a template", "arena@", 100, /^berth: "arena@" is not the name of a berth/],
    ["a path", "../lobby", 100, /^berth: "\.\.\/lobby" is not the name of a berth/],
  ])("refuses %s", async (_, name, status, sentence) => {
    using folder = new TestFolder({ "package/arena@alice.toml": "", "own/arena@alice.toml": "" });
    const config = ["package", "own"].flatMap((one) => ["--config", join(folder.path, one)]);
    const { code, stderr } = await berth(["rm", "--yes", ...config, name]);
    expect(code).toBe(status);
    expect(stderr).toMatch(sentence);
    expect(existsSync(join(folder.path, "own/arena@alice.toml"))).toBe(true);
  });
});
