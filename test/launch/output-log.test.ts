/** `berth-launch --log`: a log for each server, which neither the server nor a full disk can harm. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { launcherPath } from "../../src/launcher-path.ts";
import { type BrokerProcess, spawnBroker } from "../support/broker.ts";
import { isRoot, needs } from "../support/needs.ts";

const FILE_MAX = 4 << 20;
/** Longer lines are broken. */
const LINE_MAX = 16 << 10;

let broker: BrokerProcess;
let folder: string;
let log: string;

beforeAll(async () => {
  const berth = `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${isRoot ? '[server]\nuser = "nobody"\n' : ""}`;
  broker = await spawnBroker({ "one.toml": berth, "two.toml": berth });
});
afterAll(async () => await broker[Symbol.asyncDispose]());
beforeEach(() => {
  folder = join(broker.folder.path, "logs");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  log = join(folder, "arena.log");
});

function serve(script: string, ...words: string[]): ChildProcess {
  return serveAs("one", script, ...words);
}

function serveAs(berth: string, script: string, ...words: string[]): ChildProcess {
  const options = ["--socket", broker.socket, "--log", log, berth, "--"];
  return spawn(launcherPath(), [...options, "bash", "-c", script, "server", ...words], {
    cwd: "/",
    stdio: ["pipe", "ignore", "pipe"],
  });
}

/** Its process, once the copier has written the last line. */
async function finished(server: ChildProcess): Promise<void> {
  await once(server, "exit");
  await expect.poll(() => text(), { timeout: 30_000 }).toContain(`berthd: the output of pid ${server.pid} has ended\n`);
}

function text(): string {
  return readFileSync(log, "utf8");
}

/** What the server wrote, line by line, of all files. */
function messages(): string[] {
  const names = readdirSync(folder).sort().reverse();
  return names.flatMap((name) =>
    Array.from(
      readFileSync(join(folder, name), "utf8").matchAll(/^\S+Z server\[\d+\]: (.*)$/gm),
      ([, line = ""]) => line,
    ),
  );
}

test("each line has its time and the pid, and nothing in it moves a terminal or looks like a line of another", async () => {
  const server = serve(
    `printf 'one\\r\\n\\033[31m\\xff\\342\\200\\256\\n\\n2026-01-01T00:00:00.000Z berthd: no\\nlast'; echo E >&2`,
  );
  await finished(server);
  const [first, ...rest] = text()
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, ""));
  const prefix = `server[${server.pid}]: `;
  expect(first).toBe(`berthd: pid ${server.pid} starts`);
  expect(rest).toEqual([
    `${prefix}one`,
    `${prefix}\\x1b[31m\\xff\\u{202e}`,
    prefix,
    `${prefix}2026-01-01T00:00:00.000Z berthd: no`,
    `${prefix}lastE`,
    `berthd: the output of pid ${server.pid} has ended`,
  ]);
  expect(statSync(log).mode & 0o7777).toBe(0o640);
});

test("a line of a megabyte becomes pieces, none of which ends within a character", async () => {
  const line = `${"x".repeat(LINE_MAX - 1)}ä${"ö".repeat(500_000)}`;
  const file = join(broker.folder.path, "long");
  writeFileSync(file, `${line}\nnext\n`);
  await finished(serve('cat "$1"', file));
  const said = messages();
  expect(said.at(-1)).toBe("next");
  const pieces = said.slice(0, -1);
  expect(pieces.slice(0, -1).every((piece) => piece.endsWith("…"))).toBe(true);
  expect(pieces.map((piece) => piece.replace(/…$/, "")).join("")).toBe(line);
  expect(Math.max(...pieces.map((piece) => Buffer.byteLength(piece)))).toBeLessThanOrEqual(LINE_MAX + 3);
});

test("a flood fills five files and no more, with the last lines whole and in order", async () => {
  await finished(serve(`seq -f '%.0f ${"x".repeat(190)}' 300000`));
  const names = readdirSync(folder).sort();
  expect(names).toEqual(["arena.log", "arena.log.1", "arena.log.2", "arena.log.3", "arena.log.4"]);
  for (const name of names) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(FILE_MAX);
  const numbers = messages().map((message) => Number(message.split(" ")[0]));
  expect(numbers.at(-1)).toBe(300_000);
  expect(numbers.length).toBeGreaterThan(60_000);
  expect(numbers).toEqual(numbers.map((_, index) => 300_000 - numbers.length + 1 + index));
}, 60_000);

test("two servers that write at once lose no line of each other, over rotations", async () => {
  const script = `for i in {1..40}; do seq -f "$1 %.0f ${"x".repeat(100)}" $((i*1000-999)) $((i*1000)); done`;
  const servers = [serveAs("one", script, "a"), serveAs("two", script, "b")];
  await Promise.all(servers.map((server) => once(server, "exit")));
  const ends = (): number => readdirSync(folder).reduce((sum, name) => sum + endsIn(join(folder, name)), 0);
  await expect.poll(ends, { timeout: 30_000 }).toBe(2);
  const said = messages();
  expect(readdirSync(folder).length).toBeGreaterThan(2);
  for (const who of ["a", "b"]) {
    const numbers = said.filter((line) => line.startsWith(`${who} `)).map((line) => Number(line.split(" ")[1]));
    expect(numbers).toEqual(Array.from({ length: 40_000 }, (_, index) => index + 1));
  }
}, 60_000);

function endsIn(path: string): number {
  return readFileSync(path, "utf8").match(/ has ended$/gm)?.length ?? 0;
}

test("the last words of a server that is killed are there", async () => {
  // In one write: it must not be killed between two.
  const server = serve("printf 'whole\\nhalf'; read");
  await expect.poll(text).toContain("whole");
  server.kill("SIGKILL");
  await finished(server);
  expect(messages()).toEqual(["whole", "half"]);
});

test("a log that cannot be written leaves the output where it was, and the server runs", async () => {
  rmSync(folder, { recursive: true });
  const server = serve("echo heard >&2");
  let said = "";
  server.stderr?.on("data", (piece) => {
    said += piece;
  });
  expect(await once(server, "close")).toEqual([0, null]);
  expect(said).toBe(
    `berth-launch: cannot write to ${log}: No such file or directory; the server's output goes to the broker's log\nheard\n`,
  );
});

test("the log is not opened through a link", async () => {
  const other = join(broker.folder.path, "other");
  writeFileSync(other, "as it was");
  execFileSync("ln", ["-s", other, log]);
  expect(await once(serve("echo x"), "exit")).toEqual([0, null]);
  expect(readFileSync(other, "utf8")).toBe("as it was");
});

test("the server has no further child, and no further descriptor than without a log", async () => {
  const server = serve("ls -x /proc/$$/task/$$/children; ls -x /proc/$$/fd; read");
  await expect.poll(messages).toHaveLength(2);
  const [children, descriptors] = messages();
  // ls itself is one.
  expect(children).toBe(`/proc/${server.pid}/task/${server.pid}/children`);
  // What has counted them may not have been collected yet.
  await expect.poll(() => readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8")).toBe("");
  expect(descriptors?.trim().split(/\s+/)).toEqual(readdirSync(`/proc/${server.pid}/fd`));
  server.stdin?.end();
  await finished(server);
});

describe("as root", needs("root"), () => {
  test("a full disk loses lines, says how many, and does not keep the server waiting", async () => {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", folder]);
    try {
      const written = join(broker.folder.path, "written");
      writeFileSync(written, "");
      chmodSync(written, 0o666);
      const lines = `seq -f '%.0f ${"x".repeat(90)}' 50000`;
      const server = serve(`${lines}; echo all >"$1"; read; echo after`, written);
      // More than a pipe holds: most of it was taken from there, and lost.
      await expect.poll(() => readFileSync(written, "utf8"), { timeout: 30_000 }).toBe("all\n");
      execFileSync("mount", ["-o", "remount,size=4m", folder]);
      const noted = /^\S+Z berthd: (\d+) lines were not written: No space left on device$/gm;
      await expect.poll(() => text().match(noted)?.length ?? 0, { timeout: 30_000 }).toBeGreaterThan(0);
      server.stdin?.end();
      await finished(server);
      const lost = Array.from(text().matchAll(noted), ([, count]) => Number(count));
      expect(lost.reduce((sum, count) => sum + count, 0) + messages().length).toBe(50_001);
      expect(messages().at(-1)).toBe("after");
    } finally {
      execFileSync("umount", ["-l", folder]);
    }
  }, 60_000);

  test("the copier has no capability, reaches no other folder, and ignores what ends a session", async () => {
    const server = serve("echo on; read");
    await expect.poll(messages).toEqual(["on"]);
    const copier = copierAt(folder);
    const status = readFileSync(`/proc/${copier}/status`, "utf8");
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(/^CapPrm:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(readdirSync(`/proc/${copier}/fd`)).toHaveLength(3);
    for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) process.kill(copier, signal);
    server.stdin?.end();
    await finished(server);
  });

  test("the server, another user, opens its output again as /dev/stdout", async () => {
    await finished(serve("echo again >/proc/self/fd/1; cat <&1 >/dev/null || echo unreadable; id -un"));
    expect(messages().filter((line) => !line.startsWith("cat: "))).toEqual(["again", "unreadable", "nobody"]);
  });
});

/** The pid of the process that works in this folder as its root. */
function copierAt(root: string): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/root`) === root;
    } catch {
      return false;
    }
  });
  if (found === undefined) throw new Error("no copier");
  return Number(found);
}
