/** `berth logs` without systemd: the files that the broker's own servers have. */
import { once } from "node:events";
import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseJournalRecord } from "../../src/cli/logs/log-line.ts";
import { readSince } from "../../src/cli/logs/since.ts";
import { launchBroker, spawnBroker, TestFolder } from "../support/broker.ts";
import { isRoot } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, Lines, start } from "./support.ts";

const line = (second: number, text: string): string =>
  `2026-01-01T00:00:${String(second).padStart(2, "0")}.000Z server[7]: ${text}\n`;

describe("a log in files", () => {
  let state: TestFolder;
  beforeEach(() => {
    state = new TestFolder({
      "logs/arena.log.2": line(0, "zero") + line(1, "one"),
      "logs/arena.log.1": line(2, "two"),
      "logs/arena.log": `2026-01-01T00:00:03.000Z berthd: pid 7 starts\n${line(4, "four")}`,
    });
  });
  afterEach(() => state[Symbol.dispose]());

  const logs = (...words: string[]) => berth(["logs", "--state", state.path, ...words, "arena"]);
  const path = (name: string): string => join(state.path, "logs", name);

  test.each([
    [[], ["zero", "one", "two", "pid 7 starts", "four"]],
    [
      ["-n", "3"],
      ["two", "pid 7 starts", "four"],
    ],
    [["-n", "0"], []],
    [
      ["--since", "2026-01-01T00:00:03Z"],
      ["pid 7 starts", "four"],
    ],
    [["--since", "2026-01-01T00:00:01Z", "--lines", "1"], ["four"]],
    [["--since", "2026-01-01T00:01Z"], []],
  ])("prints the last lines, the oldest first: %j", async (words, expected) => {
    const { code, stdout, stderr } = await logs(...words);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(
      stdout
        .split("\n")
        .slice(0, -1)
        .map((text) => text.replace(/^\S+ \S+: /, "")),
    ).toEqual(expected);
  });

  test("--json prints an object a line", async () => {
    const { stdout } = await logs("--json", "-n", "2");
    expect(
      stdout
        .trimEnd()
        .split("\n")
        .map((text) => JSON.parse(text)),
    ).toEqual([
      { time: "2026-01-01T00:00:03.000Z", from: "berthd", pid: null, message: "pid 7 starts" },
      { time: "2026-01-01T00:00:04.000Z", from: "server", pid: 7, message: "four" },
    ]);
  });

  /** Renames the files as berth-launch does. */
  function rotate(text: string): void {
    for (const number of [4, 3, 2, 1]) {
      const from = path(number === 1 ? "arena.log" : `arena.log.${number - 1}`);
      if (existsSync(from)) renameSync(from, path(`arena.log.${number}`));
    }
    writeFileSync(path("arena.log"), text);
  }

  test("-f goes on over rotations, with no line lost or twice", async () => {
    const child = start(["logs", "-f", "--state", state.path, "-n", "1", "arena"]);
    const lines = new Lines(child.stdout);
    await lines.find((text) => text.endsWith(": four"));
    appendFileSync(path("arena.log"), line(5, "five"));
    await lines.find((text) => text.endsWith(": five"));
    // The last line of the old file, and two rotations before anybody looks.
    child.kill("SIGSTOP");
    appendFileSync(path("arena.log"), line(6, "six"));
    rotate(line(7, "seven"));
    rotate(line(8, "eight").slice(0, -4));
    appendFileSync(path("arena.log"), line(8, "eight").slice(-4));
    child.kill("SIGCONT");
    for (const word of ["six", "seven", "eight"])
      expect(await lines.find(() => true)).toBe(line(Number({ six: 6, seven: 7, eight: 8 }[word]), word).trimEnd());
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([null, "SIGINT"]);
  });

  test("-f says where lines are missing, because the log was rotated away", async () => {
    const child = start(["logs", "-f", "--state", state.path, "arena"]);
    const [lines, complaints] = [new Lines(child.stdout), new Lines(child.stderr)];
    await lines.find((text) => text.endsWith(": four"));
    child.kill("SIGSTOP");
    for (let number = 10; number < 16; number++) rotate(line(number, String(number)));
    child.kill("SIGCONT");
    expect(await complaints.find(() => true)).toBe(
      "berth: the server wrote faster than this printed it; lines are missing here",
    );
    expect(await lines.find(() => true)).toMatch(/: 11$/);
    await lines.find((text) => text.endsWith(": 15"));
    child.kill("SIGKILL");
    await once(child, "exit");
  });

  test("half a line that is taken back, as the disk was full, is not shown", async () => {
    const child = start(["logs", "-f", "--state", state.path, "-n", "1", "arena"]);
    const lines = new Lines(child.stdout);
    await lines.find((text) => text.endsWith(": four"));
    const whole = readFileSync(path("arena.log"));
    appendFileSync(path("arena.log"), line(5, "half of a long line").slice(0, 40));
    writeFileSync(path("arena.log"), Buffer.concat([whole, Buffer.from(line(6, "x"))]));
    expect(await lines.find(() => true)).toMatch(/: x$/);
    child.kill("SIGKILL");
    await once(child, "exit");
  });

  test("a line that is no line of a log is left out, and nothing in a file moves the terminal", async () => {
    appendFileSync(path("arena.log"), `garbage \u001b[2J\n${line(9, "\u001b[2J")}`);
    expect((await logs("-n", "1")).stdout).toMatch(/: \\x1b\[2J\n$/);
  });
});

test.each([
  [
    "nope",
    111,
    /^berth: there is no log \S+\/logs\/nope\.log: neither the broker nor berth start has started .*: berth run nope\n$/,
  ],
  ["arena@", 100, /^berth: "arena@" is not the name of a berth/],
  ["../x", 100, /is not the name of a berth/],
])("refuses %s", async (name, status, sentence) => {
  using state = new TestFolder();
  const { code, stderr } = await berth(["logs", "--state", state.path, name]);
  expect(code).toBe(status);
  expect(stderr).toMatch(sentence);
});

test("--since takes how long ago, and times with and without a zone", () => {
  const now = Date.UTC(2026, 0, 2);
  expect(readSince("90m", now).toISOString()).toBe("2026-01-01T22:30:00.000Z");
  expect(readSince("2d", now).toISOString()).toBe("2025-12-31T00:00:00.000Z");
  expect(readSince("2026-01-31 20:15Z").toISOString()).toBe("2026-01-31T20:15:00.000Z");
  expect(readSince("2026-01-31 20:15")).toEqual(new Date(2026, 0, 31, 20, 15));
  expect(readSince("2026-01-31")).toEqual(new Date(2026, 0, 31));
  for (const wrong of ["", "yesterday", "10", "2026-13-01", "2026-01-01T25:00"])
    expect(() => readSince(wrong), wrong).toThrow(/is not a time; write how long ago, as --since 10m or 7d, or a time/);
});

test("a record of the journal is a line, whatever bytes it has", () => {
  const record = {
    __REALTIME_TIMESTAMP: "1767225600123456",
    _PID: "9",
    SYSLOG_IDENTIFIER: "arena",
    MESSAGE: [104, 105],
  };
  expect(parseJournalRecord(JSON.stringify(record))).toEqual({
    time: "2026-01-01T00:00:00.123Z",
    from: "server",
    pid: 9,
    message: "hi",
  });
  expect(parseJournalRecord("[]")).toMatchObject({ message: "" });
});

test.each([
  ["the system's manager", { _PID: "1" }, "systemd"],
  ["a user's manager", { _SYSTEMD_USER_UNIT: "init.scope" }, "systemd"],
  ["a server that takes the name", {}, "server"],
  ["a server of a user's manager that takes the name", { _SYSTEMD_USER_UNIT: "arena.service" }, "server"],
])("a line in the name of systemd, by %s", (_, fields, from) => {
  const record = { _PID: "9", SYSLOG_IDENTIFIER: "systemd", MESSAGE: "Started.", ...fields };
  expect(parseJournalRecord(JSON.stringify(record))).toMatchObject({ from, message: "Started." });
});

describe("a server that the broker starts", () => {
  /** It tells its pid, and each line that it gets on a connection. */
  const chatty = [
    "import os, socket, sys",
    "s = socket.fromfd(3, socket.AF_INET, socket.SOCK_STREAM)",
    'print("pid", os.getpid(), flush=True)',
    "while True:",
    "    c, _ = s.accept()",
    '    print("heard", c.recv(100).decode().strip(), flush=True)',
    '    c.sendall(b"ok"); c.close()',
  ].join("\n");

  async function say(port: number, word: string): Promise<void> {
    const connection = createConnection(port, "127.0.0.1");
    connection.end(`${word}\n`).resume();
    await once(connection, "close");
  }

  test("keeps its log when its broker is killed, and when another broker takes over", async () => {
    using folder = new TestFolder();
    const port = await freePort();
    folder.write({ "server.py": chatty });
    folder.write({
      "config/arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\n${
        isRoot ? 'user = "nobody"\n' : ""
      }command = ["/usr/bin/python3", "${folder.path}/server.py"]\nstart = "on-demand"\n`,
    });
    const state = join(folder.path, "state");
    const options = ["--state", state];
    const first = launchBroker(folder, options);
    await first.logged(({ event }) => event === "ready");
    await say(port, "one");
    const env = { BERTHD_SOCKET: first.socket };
    const follow = start(["logs", "-f", "arena"], env);
    const lines = new Lines(follow.stdout);
    const [, pid] = /pid (\d+)$/.exec(await lines.find((text) => / pid \d+$/.test(text))) ?? [];
    await lines.find((text) => text.endsWith(": heard one"));
    first.child.kill("SIGKILL");
    await first.closed;
    await say(port, "two");
    await lines.find((text) => text.endsWith(": heard two"));
    const second = launchBroker(folder, options);
    await second.logged(({ event }) => event === "ready");
    await say(port, "three");
    await lines.find((text) => text.endsWith(": heard three"));
    const third = launchBroker(folder, [...options, "--replace", "must"]);
    await third.logged(({ event }) => event === "ready");
    await second.closed;
    await say(port, "four");
    expect(await lines.find((text) => text.endsWith(": heard four"))).toContain(`server[${pid}]: `);
    // Nothing of it in the brokers' logs.
    for (const { log } of [first, second, third])
      expect(log.map(({ message }) => message).join("\n")).not.toMatch(/heard/);
    expect((await berth(["stop", "arena"], env)).code).toBe(0);
    await lines.find((text) => text.endsWith(`berthd: the output of pid ${pid} has ended`));
    follow.kill("SIGKILL");
    await once(follow, "exit");
    expect(readdirSync(join(state, "logs"))).toEqual(["arena.log"]);
    expect(statSync(join(state, "logs")).mode & 0o7777).toBe(0o750);
    await third[Symbol.asyncDispose]();
  });

  test("is started without a log where there can be none, and the broker's log says why", async () => {
    const port = await freePort();
    using state = new TestFolder({ logs: "a file" });
    const files = {
      "arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\n${
        isRoot ? 'user = "nobody"\n' : ""
      }command = ["/bin/echo", "heard"]\nstart = "on-demand"\n`,
    };
    await using broker = await spawnBroker(files, ["--state", state.path]);
    const connection = createConnection(port, "127.0.0.1");
    await broker.logged(({ message }) => message === "heard");
    connection.destroy();
    const why = `cannot write to ${join(state.path, "logs/arena.log")}: Not a directory; the server's output goes to the broker's log`;
    expect(broker.log.map(({ message }) => message)).toContain(`berth-launch: ${why}`);
  });
});
