import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, berths, cli, fakeBroker, start } from "./support.ts";

describe("a broker with three berths, one taken", () => {
  let broker: BrokerProcess;
  let tenant: ReturnType<typeof start>;
  let env: NodeJS.ProcessEnv;
  const runner = process.geteuid?.() === 0 ? "nobody" : /\S+/;

  beforeAll(async () => {
    broker = await spawnBroker(berths);
    env = { BERTHD_SOCKET: broker.socket };
    tenant = start(["run", "lobby"], env);
    await broker.logged(({ event }) => event === "acquired");
    // It has the berth before it is nobody's, and before it is its command.
    await vi.waitUntil(() => readFileSync(`/proc/${tenant.pid}/comm`, "utf8") === "sleep\n", { timeout: 30_000 });
  });
  afterAll(async () => {
    tenant.kill("SIGKILL");
    await broker[Symbol.asyncDispose]();
  });

  test("berth ls is a table for people, without colours where there is no terminal", async () => {
    const { code, stdout, stderr } = await berth(["ls"], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const rows = stdout.trimEnd().split("\n");
    expect(rows[0]?.split(/\s+/)).toEqual(["NAME", "STATE", "PID", "USER", "SOCKETS"]);
    expect(rows[1]).toMatch(/^arena@alice {2}vacant +- +- +game=\S*127\.0\.0\.1:\d+$/);
    expect(rows[2]).toMatch(/^ +game=\S*\[::1\]:\d+$/);
    expect(rows[3]).toMatch(/^arena@bob {4}vacant /);
    const [name, state, pid, user, socket] = rows[5]?.split(/\s+/) ?? [];
    expect({ name, state, pid }).toEqual({ name: "lobby", state: "occupied", pid: String(tenant.pid) });
    expect(user).toMatch(runner);
    expect(socket).toMatch(/^web=\S*127\.0\.0\.1:\d+$/);
  });

  test("berth ls shows the columns under their titles", async () => {
    const { stdout } = await berth(["ls"], env);
    const [titles = "", ...rows] = stdout.trimEnd().split("\n");
    const starts = [...titles.matchAll(/\S+/g)].map(({ index }) => index).filter((index) => index > 0);
    expect(starts).toHaveLength(4);
    for (const row of rows.filter((line) => !line.startsWith(" ")))
      for (const at of starts) expect(row.slice(at - 2, at + 1)).toMatch(/^ {2}\S$/);
  });

  test("berth ls --json is the list as the broker gave it", async () => {
    const list = JSON.parse((await berth(["ls", "--json"], env)).stdout);
    expect(list).toMatchObject([
      { name: "arena@alice", state: "vacant", descriptors: [{ name: "game", kind: "datagram" }, { name: "game" }] },
      { name: "arena@bob" },
      { name: "lobby", state: "occupied", lease: { pid: tenant.pid, uid: process.geteuid?.() } },
    ]);
  });

  test("berth ls --names prints a name on each line", async () => {
    expect((await berth(["ls", "--names"], env)).stdout).toBe("arena@alice\narena@bob\nlobby\n");
  });

  test("--socket is understood before and after the command", async () => {
    for (const args of [
      ["--socket", broker.socket, "ls", "--names"],
      ["ls", "--names", "--socket", broker.socket],
    ]) {
      expect(await berth(args)).toMatchObject({ code: 0, stdout: "arena@alice\narena@bob\nlobby\n" });
    }
  });

  test("on a terminal it has colours, unless NO_COLOR is set", needs("script"), async () => {
    const command = `${process.execPath} ${cli} ls`;
    const coloured = await onTerminal(command, { ...env, TERM: "xterm" });
    expect(coloured).toContain("\u001b[32moccupied");
    const plain = await onTerminal(command, { ...env, TERM: "xterm", NO_COLOR: "1" });
    expect(plain).toContain("occupied");
    expect(plain).not.toContain("\u001b");
  });

  test("a reader that goes away ends it quietly", async () => {
    const shell = spawn("bash", ["-c", `${process.execPath} ${cli} ls | true; echo "\${PIPESTATUS[0]}"`], {
      env: { ...process.env, ...env },
    });
    const said: Buffer[] = [];
    for (const stream of [shell.stdout, shell.stderr]) stream.on("data", (chunk: Buffer) => said.push(chunk));
    await once(shell, "close");
    expect(Buffer.concat(said).toString()).toBe("0\n");
  });

  test("a full disk is a sentence and 111", async () => {
    const shell = spawn("sh", ["-c", `exec ${process.execPath} ${cli} ls >/dev/full`], {
      env: { ...process.env, ...env },
    });
    let said = "";
    shell.stderr.on("data", (chunk) => {
      said += chunk;
    });
    expect((await once(shell, "close"))[0]).toBe(111);
    expect(said).toBe("berth: cannot write to standard output: ENOSPC\n");
  });

  test("berth show prints everything about one berth", async () => {
    const { code, stdout } = await berth(["show", "lobby"], env);
    expect(code).toBe(0);
    const [title, ...facts] = stdout.trimEnd().split("\n");
    expect(title).toBe("lobby");
    expect(facts.map((line) => line.trim().split(/\s{2,}/)[0])).toEqual([
      "state",
      "tenant",
      "since",
      "ready",
      "lease",
      "stream",
    ]);
    expect(stdout).toMatch(new RegExp(`tenant +pid ${tenant.pid} \\(sleep\\), runs as \\S+, took it as \\S+\\n`));
  });

  test("berth show --json is that berth of the list", async () => {
    const list = JSON.parse((await berth(["ls", "--json"], env)).stdout);
    expect(JSON.parse((await berth(["show", "--json", "lobby"], env)).stdout)).toEqual(list[2]);
  });

  test("berth show of an unknown berth is refused, its name shown harmlessly", async () => {
    const { code, stdout, stderr } = await berth(["show", "no\u001b[2J"], env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^berth: there is no berth "no\\u001b\[2J".*\n$/);
  });
});

describe("a broker that is not to be trusted", () => {
  const address = "\u001b]0;owned\u0007\u202e\n\u2028";
  const hostile = {
    parameters: {
      berths: [
        {
          name: "x\u001b[2J\ny",
          state: "occupied",
          descriptors: [{ name: "\u009b31m", kind: "stream", address }],
          lease: { id: "\u001b", pid: 1, uid: 0, unit: "\r\n" },
          status: "\u001b[2J",
          start: { state: "failed", failures: 1, reason: "\u001b[2J", next: Number.MAX_SAFE_INTEGER },
        },
      ],
    },
  };

  test.each([["ls"], ["show", "x\u001b[2J\ny"], ["ls", "--names"]])(
    "cannot move the cursor with `berth %s`",
    async (...args) => {
      await using broker = await fakeBroker([hostile]);
      const { code, stdout } = await berth([...args, "--socket", broker.socket]);
      expect(code).toBe(0);
      expect(stdout).toContain("x\\x1b[2J\\x0ay");
      expect(stdout).not.toMatch(/[^\P{Cc}\n]|[\u202e\u2028]/u);
    },
  );

  test("cannot with --json either, and the values are as they were", async () => {
    await using broker = await fakeBroker([hostile]);
    const { stdout } = await berth(["ls", "--json", "--socket", broker.socket]);
    expect(stdout).not.toMatch(/[^\P{Cc}\n]|[\u202e\u2028]/u);
    expect(JSON.parse(stdout)).toEqual(hostile.parameters.berths);
  });

  test("a reply that is no list of berths is a sentence and 111", async () => {
    await using broker = await fakeBroker([{ parameters: { berths: [{ name: 3 }] } }]);
    const { code, stderr } = await berth(["ls", "--socket", broker.socket]);
    expect(code).toBe(111);
    expect(stderr).toMatch(/^berth: the broker's reply to List has no usable berths\.0\.name; .*\n$/);
  });
});

test("a tenant that has a port of an older configuration is outdated, until it is started again", async () => {
  await using broker = await spawnBroker(berths);
  const env = { BERTHD_SOCKET: broker.socket };
  const run = async (): Promise<ReturnType<typeof start>> => {
    const tenant = start(["run", "lobby"], env);
    await broker.logged(({ event, pid }) => event === "acquired" && pid === tenant.pid);
    return tenant;
  };
  const first = await run();
  const before = JSON.parse((await berth(["show", "lobby", "--json"], env)).stdout).descriptors[0].address;
  const file = String(berths["lobby.toml"]);
  broker.folder.write({ "config/lobby.toml": file.replace("127.0.0.1", "127.0.0.2") });
  expect((await berth(["reload"], env)).code).toBe(0);
  const { stdout } = await berth(["ls"], env);
  expect(stdout).toMatch(/^lobby +outdated .* web=tcp:\/\/127\.0\.0\.2:\d+$/m);
  expect(stdout).toMatch(/^lobby: has tcp:.* of an older configuration; restart it:\s+berth\s+restart\s+lobby$/m);
  expect(stdout).toContain(`\nlobby: has ${before} of`);
  expect((await berth(["show", "lobby"], env)).stdout).toMatch(
    new RegExp(
      `^ {2}state +outdated\n(.*\n)* {2}outdated +has ${before} of an older configuration; restart it: berth restart lobby$`,
      "m",
    ),
  );
  first.kill("SIGKILL");
  await broker.logged(({ event }) => event === "released");
  const second = await run();
  expect((await berth(["ls"], env)).stdout).toMatch(/^lobby +occupied /m);
  second.kill("SIGKILL");
});

test("a berth whose server cannot start has failed, and ls says why in the launcher's words", async () => {
  const user = process.geteuid?.() === 0 ? 'user = "nobody"\n' : "";
  const server = `[server]\nstart = "on-demand"\ncommand = ["/nonexistent/server"]\n${user}`;
  using state = new TestFolder();
  await using broker = await spawnBroker(
    { "arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n${server}` },
    ["--state", state.path],
  );
  const env = { BERTHD_SOCKET: broker.socket };
  const { address } = JSON.parse((await berth(["show", "arena", "--json"], env)).stdout).descriptors[0];
  const player = connect(Number(new URL(address).port), "127.0.0.1");
  player.on("error", () => player.destroy()); // the broker ends before the connection is taken
  await broker.logged(({ event }) => event === "start-failed");
  const { stdout } = await berth(["ls"], { ...env });
  expect(stdout).toMatch(/^arena +failed +- /m);
  const [, advice = ""] = /^arena: (its server did not start[\s\S]*)/m.exec(stdout) ?? [];
  expect(advice.replace(/\s+/g, " ")).toMatch(
    /^its server did not start(, \d times)?: cannot run \/nonexistent\/server( as uid 65534)?: No such file or directory; .*; next try at 20/,
  );
  const { start: told } = JSON.parse((await berth(["show", "arena", "--json"], env)).stdout);
  expect(told).toMatchObject({ state: "failed", status: 111 });
  player.destroy();
});

test("berth show prints a server's status, and why one did not start", async () => {
  const lease = { id: "1", pid: process.pid, uid: 0 };
  const start = {
    state: "failed",
    failures: 3,
    reason: "it ended with status 1",
    status: 1,
    next: 1_700_000_000_000_000,
  };
  const parameters = {
    berths: [
      { name: "busy", state: "occupied", descriptors: [], lease, ready: true, status: "map dm6, 3 players" },
      { name: "broken", state: "vacant", descriptors: [], start },
      { name: "shy", state: "vacant", descriptors: [], start: { state: "waiting", failures: 0 } },
    ],
  };
  await using broker = await fakeBroker([{ parameters }]);
  const show = async (name: string): Promise<string> =>
    (await berth(["show", name, "--socket", broker.socket])).stdout.replace(/^.*\n/, "");
  expect(await show("busy")).toMatch(/^ {2}status +map dm6, 3 players$/m);
  expect(await show("broken")).toBe(
    "  state     failed\n  start     on demand, failed\n" +
      "  failed    3 times; last reason: it ended with status 1\n  next try  2023-11-14T22:13:20.000Z\n",
  );
  expect(await show("shy")).toBe("  state  vacant\n  start  on demand, waiting\n");
});

test("without a broker, the message names the paths that were tried", async () => {
  const { code, stderr } = await berth(["ls", "--socket", "/nonexistent/broker"]);
  expect(code).toBe(111);
  expect(stderr).toMatch(/^berth: cannot reach a broker at \/nonexistent\/broker: .*\n$/);
});

/** Output of a command whose standard output is a terminal: script(1). */
async function onTerminal(command: string, env: NodeJS.ProcessEnv): Promise<string> {
  const { PATH, HOME } = process.env;
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    env: { PATH, HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(child, "close");
  return Buffer.concat(chunks).toString();
}
