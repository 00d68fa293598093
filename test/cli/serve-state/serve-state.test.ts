/** What the agent of a fleet gets from the root program beside it, with a real broker and real roots. */
import { type ChildProcess, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../../src/native.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../../support/broker.ts";
import { ask, request, StateService } from "../../support/fleet/state-service.ts";
import { needs } from "../../support/needs.ts";
import { berth, Lines, start } from "../support.ts";

const lobby = '[root]\nimage = "arena"\n[server]\nuser = "range"\n';
const done = { ok: true, bytes: expect.any(Number) };
const refusal = (sentence: RegExp, code?: string) => ({
  ok: false,
  error: expect.stringMatching(sentence),
  ...(code !== undefined && { code }),
});

describe("berth serve-state", needs("root"), () => {
  const state = new TestFolder({ "tree/map": "dm6\n" });
  /** The folder that the agent writes. */
  const fleet = new TestFolder({ "lobby.toml": lobby, "other.toml": lobby, "both.toml": lobby });
  let broker: BrokerProcess;
  let service: StateService;
  let env: NodeJS.ProcessEnv;
  let options: string[];

  beforeAll(async () => {
    const tree = join(state.path, "tree");
    const imported = await berth(["image", "import", "--state", state.path, "arena", tree], { BERTHD_SOCKET: "/none" });
    expect(imported.code).toBe(0);
    const files = { "admin.toml": lobby, "both.toml": lobby };
    broker = await spawnBroker(files, ["--state", state.path, "--config", fleet.path]);
    env = { BERTHD_SOCKET: broker.socket };
    options = ["--folder", fleet.path, "--config", join(broker.folder.path, "config")];
    service = await StateService.start(join(state.path, "service"), options, env);
  });
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
    state[Symbol.dispose]();
    fleet[Symbol.dispose]();
  });

  const run = async (name: string, script: string): Promise<string> => {
    const { code, stdout, stderr } = await berth(["run", name, "--", "/bin/sh", "-c", script], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  };
  /** A server of the berth that runs until it is ended. */
  const serverOf = async (name: string): Promise<ChildProcess> => {
    const child = start(["run", name, "--", "/bin/sh", "-c", "echo on; exec sleep 1000"], env);
    await new Lines(child.stdout).find((line) => line === "on");
    return child;
  };
  const end = async (child: ChildProcess): Promise<void> => {
    child.kill("SIGKILL");
    await once(child, "exit");
    await isVacant("lobby");
  };
  const isVacant = async (name: string): Promise<void> => {
    const { stdout } = await berth(["show", "--json", name], env);
    if (JSON.parse(stdout).lease !== null)
      await expect.poll(async () => (await berth(["ls"], env)).stdout).toMatch(new RegExp(`^${name} +vacant`, "m"));
  };
  const save = async (live = false) => await ask(service.path, { method: "Save", berth: "lobby", live });
  const restore = async (...upload: Buffer[]) => await ask(service.path, { method: "Restore", berth: "lobby" }, upload);
  const folder = (name = "lobby"): string => join(state.path, "roots", name);
  const evil = (kind: string, outside = "/etc"): Buffer => {
    const words = [join(packageRoot, "test/fixtures/evil-tar.py"), kind, outside];
    const { stdout, status } = spawnSync("python3", words);
    expect(status).toBe(0);
    return stdout;
  };

  test("what was saved is there again, and the removed file of the image stays removed", async () => {
    await run("lobby", "echo one >{root}/save; rm {root}/map");
    const { lines, bytes } = await save();
    expect(lines).toEqual([{ ok: true }, { ok: true, bytes: bytes.length }]);
    await run("lobby", "echo two >{root}/save; echo x >{root}/more");
    // In frames of any size.
    const parts = [bytes.subarray(0, 1), bytes.subarray(1, 70_000), bytes.subarray(70_000)];
    expect(await restore(...parts.filter(({ length }) => length > 0))).toMatchObject({ lines: [done] });
    expect(await run("lobby", "cat {root}/save; ls {root}; echo three >>{root}/save")).toBe("one\nsave\n");
    expect(readdirSync(folder()).sort()).toEqual(["upper", "work"]);
    expect(await service.last.ended).toEqual({ code: 0, stderr: expect.stringMatching(/^Restore lobby: \S+ KiB\n$/) });
  });

  test("a berth that no server has had yet gets files, with ids of its range", async () => {
    await run("lobby", "echo moved >{root}/save");
    const { bytes } = await save();
    // As an agent writes it while it moves files: no server can start.
    fleet.write({ "new.toml": '[root]\nimage = "arena"\n' });
    expect((await berth(["reload"], env)).code).toBe(0);
    expect((await ask(service.path, { method: "Restore", berth: "new" }, [bytes])).lines).toEqual([done]);
    const [here, there] = [lstatSync(join(folder("new"), "upper")), lstatSync(join(folder(), "upper"))];
    expect(here.uid).not.toBe(there.uid);
    fleet.write({ "new.toml": lobby });
    expect((await berth(["reload"], env)).code).toBe(0);
    expect(await run("new", "cat {root}/save; echo more >>{root}/save")).toBe("moved\n");
    expect((await ask(service.path, { method: "Save", berth: "new" })).lines.at(-1)).toMatchObject(done);
  });

  test("a berth without a range of ids gets no files: they would keep the owners of another host", async () => {
    const { bytes } = await save();
    fleet.write({ "plain.toml": '[root]\nimage = "arena"\nshift = "none"\n' });
    expect((await berth(["reload"], env)).code).toBe(0);
    const { lines } = await ask(service.path, { method: "Restore", berth: "plain" }, [bytes]);
    expect(lines).toEqual([refusal(/berth plain has no range of ids/, "STATE_ABSENT")]);
    expect(readdirSync(folder("plain")).filter((one) => one.startsWith("restoring"))).toEqual([]);
  });

  test("what a killed request of another berth has left is removed", async () => {
    const left = join(folder("other"), "restoring-4194304"); // no process has this number (proc(5), pid_max)
    mkdirSync(left, { recursive: true });
    expect((await save()).lines.at(-1)).toMatchObject(done);
    expect(existsSync(left)).toBe(false);
  });

  test("two archives of the same files differ only in their first member", async () => {
    const [one, other] = [(await save()).bytes, (await save()).bytes];
    expect(one.length).toBe(other.length);
    // That member has a header for its time, and one for itself.
    expect(one.subarray(2048).equals(other.subarray(2048))).toBe(true);
    expect(one.subarray(2048).includes("upper/save")).toBe(true);
  });

  test("with a server, only a live copy is given, and nothing is restored", async () => {
    const { bytes } = await save();
    const server = await serverOf("lobby");
    const sentence = /^berth lobby has a server; stop it first: berth stop lobby$/;
    expect(await save()).toMatchObject({ lines: [refusal(sentence, "REFUSED")] });
    expect(await restore(bytes)).toMatchObject({ lines: [refusal(sentence, "REFUSED")] });
    expect((await save(true)).lines).toEqual([{ ok: true }, done]);
    expect(server.exitCode).toBeNull();
    await end(server);
  });

  test("while it saves, no server can start; a peer that goes away leaves nothing, and the berth is free", async () => {
    // More than the connection and the pipes hold.
    writeFileSync(join(folder(), "upper/big"), Buffer.alloc(8 << 20, 1));
    const socket = connect(service.path);
    socket.write(request({ method: "Save", berth: "lobby" }));
    await once(socket, "readable");
    const { code, stderr } = await berth(["run", "lobby", "--", "/bin/true"], env);
    expect(stderr).toMatch(/lobby is taken by pid \d+/);
    expect(code).toBe(1);
    socket.destroy();
    expect(await service.last.ended).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^Save lobby: the agent has closed/),
    });
    rmSync(join(folder(), "upper/big"));
    await isVacant("lobby");
    expect(readdirSync(folder()).sort()).toEqual(["upper", "work"]);
    await run("lobby", "true");
  });

  test.each([
    [
      "in the middle of a frame",
      (bytes: Buffer) => request({ method: "Restore", berth: "lobby" }, [bytes]).subarray(0, -9),
    ],
    [
      "before the last frame",
      (bytes: Buffer) => request({ method: "Restore", berth: "lobby" }, [bytes]).subarray(0, -4),
    ],
  ])("an agent that goes away %s changes nothing", async (_, sent) => {
    const { bytes } = await save();
    await run("lobby", "echo kept >{root}/save");
    const socket = connect(service.path);
    socket.end(sent(bytes));
    expect(await once(socket.resume(), "close")).toEqual([false]);
    const { stderr } = await service.last.ended;
    expect(stderr).toMatch(/^Restore lobby: the agent has closed the connection before the end of its request\n$/);
    expect(readFileSync(join(folder(), "upper/save"), "utf8")).toBe("kept\n");
    expect(readdirSync(folder()).sort()).toEqual(["upper", "work"]);
  });

  test.each(["SIGTERM", "SIGKILL"] as const)("%s in the middle of a request changes nothing", async (signal) => {
    const socket = connect(service.path);
    const answer = once(socket, "close");
    socket.on("error", () => undefined).resume();
    // No end: it waits for more.
    socket.write(request({ method: "Restore", berth: "lobby" }, [(await save()).bytes]).subarray(0, -4));
    const restoring = () => readdirSync(folder()).filter((name) => name.startsWith("restoring-"));
    await expect.poll(restoring).toHaveLength(1);
    service.last.child.kill(signal);
    await service.last.ended;
    socket.destroy();
    await answer;
    expect(existsSync(join(folder(), "upper/save"))).toBe(true);
    // What a killed one left is removed by the next one.
    await save();
    expect(readdirSync(folder()).sort()).toEqual(["upper", "work"]);
    await isVacant("lobby");
  });

  test.each([
    ["a berth of the administrator", { berth: "admin" }, /^berth admin is not one of the fleet: there is no file /],
    ["a name that both have", { berth: "both" }, /^berth both is not one of the fleet: the host has \S+both\.toml$/],
    ["a berth that nobody has", { berth: "nobody" }, /^berth nobody is not one of the fleet: there is no file /],
    ["a path", { berth: "../lobby" }, /^"\.\.\/lobby" is not the name of a berth of the fleet$/],
    ["an instance", { berth: "lobby@x" }, /^"lobby@x" is not the name of a berth of the fleet$/],
    ["no name", { berth: 7 }, /^7 is not the name of a berth of the fleet$/],
    ["a berth without files", { berth: "other" }, /^no server has had berth other yet, so it has no files$/],
    ["another method", { method: "Remove" }, /^there is no method "Remove"$/],
    ["a word for a truth", { berth: "lobby", live: "yes" }, /^live is "yes", and not true or false$/],
  ])("refuses to save %s", async (_, fields, sentence) => {
    expect(await ask(service.path, { method: "Save", ...fields })).toMatchObject({ lines: [refusal(sentence)] });
    expect((await service.last.ended).code).toBe(0);
  });

  test("a berth of the administrator is not restored either, and drop-ins of the host count", async () => {
    mkdirSync(join(broker.folder.path, "config/lobby.toml.d"));
    const sentence = /^berth lobby is not one of the fleet: the host has \S+lobby\.toml\.d$/;
    expect(await restore(evil("set-user-ID"))).toMatchObject({ lines: [refusal(sentence, "REFUSED")] });
    rmSync(join(broker.folder.path, "config/lobby.toml.d"), { recursive: true });
    const admin = await ask(service.path, { method: "Restore", berth: "admin" }, [evil("set-user-ID")]);
    expect(admin).toMatchObject({ lines: [refusal(/^berth admin is not one of the fleet/)] });
    expect(existsSync(folder("admin"))).toBe(false);
  });

  test.each([
    ["dots", /Member name contains '\.\.'/],
    ["link out", /Cannot open: Not a directory/],
    ["hard link out", /Cannot hard link/],
    ["hard link by link", /Cannot hard link/],
    ["hard link beside", /^the archive cannot be restored: shared in it is the same file as one outside of upper$/],
    ["link for folder", /^the archive cannot be restored: upper in it is no folder$|Cannot unlink/],
    ["device", /^the archive cannot be restored: it has a device node, block 8:0 disk$/],
    ["no folder", /upper: Not found in archive/],
    ["nothing", /Not found in archive/],
  ])("an archive with %s is refused, and changes nothing inside or outside", async (kind, sentence) => {
    using outside = new TestFolder({ secret: "s" });
    await run("lobby", "echo kept >{root}/save");
    const { lines } = await restore(evil(kind, outside.path));
    expect(lines).toEqual([refusal(sentence, "SYSTEM_ERROR")]);
    expect(readFileSync(join(folder(), "upper/save"), "utf8")).toBe("kept\n");
    expect(readdirSync(folder()).sort()).toEqual(["upper", "work"]);
    expect(readdirSync(outside.path)).toEqual(["secret"]);
    const { uid, nlink } = lstatSync(join(outside.path, "secret"));
    expect([uid, nlink]).toEqual([0, 1]);
  });

  test.each(["absolute", "folder for link"])("an archive with %s writes nothing outside", async (kind) => {
    using outside = new TestFolder({ secret: "s" });
    await restore(evil(kind, outside.path));
    expect(readdirSync(outside.path)).toEqual(["secret"]);
    expect(existsSync(join(folder(), "escaped"))).toBe(false);
  });

  test("a set-user-ID file is the range's, and attributes of berthd's own are not restored", async () => {
    expect((await restore(evil("set-user-ID"))).lines).toEqual([done]);
    const { uid, gid } = lstatSync(join(folder(), "upper/shell"));
    expect([uid % 65_536, gid % 65_536]).toEqual([0, 0]);
    expect(Math.min(uid, gid)).toBeGreaterThanOrEqual(65_536);
    expect((await restore(evil("attributes"))).lines).toEqual([done]);
    const file = join(folder(), "upper/file");
    expect(listedAttributes(file)).toEqual(["user.note"]);
  });

  test("only the user for whom it is gets an answer", async () => {
    await using other = await StateService.start(join(state.path, "other"), [...options, "--user", "12345"], env);
    const sentence = new RegExp(`^pid ${process.pid} is of user 0; only user 12345 is served$`);
    const asked = await ask(other.path, { method: "Save", berth: "lobby" });
    expect(asked).toMatchObject({ lines: [refusal(sentence, "REFUSED")] });
  });

  test("sizes and times are bounded", async () => {
    await using small = await StateService.start(join(state.path, "small"), [...options, "--max-bytes", "20K"], env);
    const large = refusal(/^there are more than 20480 bytes; /, "MESSAGE_TOO_LARGE");
    const upload = [Buffer.alloc(20_000), Buffer.alloc(1000)];
    expect(await ask(small.path, { method: "Restore", berth: "lobby" }, upload)).toMatchObject({ lines: [large] });
    writeFileSync(join(folder(), "upper/big"), Buffer.alloc(50_000, 1));
    expect((await ask(small.path, { method: "Save", berth: "lobby" })).lines.at(-1)).toEqual(large);
    rmSync(join(folder(), "upper/big"));
    const long = await ask(small.path, { method: "Save", berth: "x".repeat(5000) });
    expect(long).toMatchObject({ lines: [refusal(/^the request has more than 4096 bytes$/, "PROTOCOL_ERROR")] });
    await using hasty = await StateService.start(join(state.path, "hasty"), [...options, "--stall", "0.2"], env);
    const silent = connect(hasty.path);
    silent.resume();
    await once(silent, "close");
    expect((await hasty.last.ended).stderr).toBe("a request: the agent has neither sent nor read anything for 0.2 s\n");
  });

  test("by hand it says that systemd starts it", async () => {
    const { code, stderr } = await berth(["serve-state", ...options], env);
    expect({ code, stderr }).toEqual({
      code: 100,
      stderr: expect.stringMatching(/^berth: standard input is no connection/),
    });
  });
});

function listedAttributes(path: string): string[] {
  const script = "import os,sys; print(*sorted(os.listxattr(sys.argv[1])))";
  const { stdout } = spawnSync("python3", ["-c", script, path], { encoding: "utf8" });
  return stdout.trim().split(" ");
}
