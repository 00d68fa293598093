/** `berth explain`, built, with real servers: it is the server's own behaviour that has to come out. */
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/toml/problem.ts";
import { launcherPath } from "../../src/launcher-path.ts";
import { formatListenAddress } from "../../src/net/address.ts";
import { TestFolder } from "../support/broker.ts";
import { needs, pathOf } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, Lines, start } from "./support.ts";

interface Explained {
  readonly exit: { readonly code: number | null; readonly signal: string | null };
  readonly binds: readonly {
    readonly address: string;
    readonly error: string | null;
    readonly options: Readonly<Record<string, number>>;
    readonly pid: number;
    readonly program: string;
    readonly count: number;
  }[];
  readonly toml: string;
}

async function explain(seconds: number, ...command: string[]): Promise<Explained> {
  const { stdout } = await berth(["explain", "--for", String(seconds), "--json", "arena", "--", ...command]);
  return JSON.parse(stdout) as Explained;
}

/** The addresses of each socket, by its name; the configuration must be in order. */
function sockets(toml: string): Record<string, string[]> {
  using folder = new TestFolder({ "arena.toml": toml });
  const accounts = { passwd: () => undefined, group: () => undefined };
  const { specs, problems } = loadConfig({ directories: [folder.path], accounts });
  expect(problems.map(formatProblem)).toEqual([]);
  const found = specs.flatMap((spec) => spec.sockets);
  return Object.fromEntries(found.map(({ name, listen }) => [name, listen.map(formatListenAddress)]));
}

/** A server of python3 for what Node cannot ask for: `s` is its socket module. */
function python(...lines: string[]): string[] {
  return ["python3", "-c", ["import os, signal, sys", "import socket as s", ...lines].join("\n")];
}

/** Whether the process has not ended; as a zombie it has, whoever may yet collect it (proc(5), status). */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/status`, "utf8").includes("\nState:\tZ");
  } catch {
    return false;
  }
}

/** Quake III's command line on a port, with just enough data in `folder` to start. */
function quake(folder: TestFolder, port: number): string[] {
  const data = join(folder.path, "fdtest");
  mkdirSync(data);
  writeFileSync(join(data, "default.cfg"), "\n");
  symlinkSync("/usr/lib/ioquake3/baseq3/qagamex86_64.so", join(data, "qagamex86_64.so"));
  const settings = {
    ...{ fs_basepath: folder.path, fs_homepath: folder.path, com_basegame: "fdtest", sv_pure: 0, dedicated: 1 },
    ...{ vm_game: 0, net_enabled: 1, net_ip: "0.0.0.0", net_port: port },
  };
  return [
    pathOf("ioq3ded"),
    "+quit",
    ...Object.entries(settings).flatMap(([name, value]) => ["+set", name, String(value)]),
  ];
}

test("a Node server's TCP, UDP and IPv6 sockets become a section for each port", async () => {
  const port = await freePort();
  const script = `
    const net = require("node:net"), dgram = require("node:dgram");
    const all = [
      net.createServer().listen(${port}),
      dgram.createSocket("udp4").bind(${port}),
      dgram.createSocket({ type: "udp6", ipv6Only: true }).bind(${port}),
      net.createServer().listen(0, "127.0.0.1"),
    ];
    let left = all.length;
    for (const one of all) one.on("listening", () => --left === 0 && process.exit());
  `;
  const { toml, exit } = await explain(10, process.execPath, "-e", script);
  expect(exit).toEqual({ code: 0, signal: null });
  const { game = [], ...others } = sockets(toml);
  expect(game.toSorted()).toEqual([`tcp://*:${port}`, `udp://0.0.0.0:${port}`, `udp://[::]:${port}`]);
  expect(others).toEqual({});
  expect(toml).toContain("# tcp://127.0.0.1:0 by node: any free port will do");
});

test("options that a server set before bind are reported, with the program and the number of calls", async () => {
  const port = await freePort();
  const { binds, exit } = await explain(
    10,
    ...python(
      "def bind(buffer):",
      "  u = s.socket(s.AF_INET, s.SOCK_DGRAM)",
      "  u.setsockopt(s.SOL_SOCKET, s.SO_BROADCAST, 1)",
      "  u.setsockopt(s.SOL_SOCKET, s.SO_RCVBUF, buffer)",
      "  u.setblocking(False)",
      `  u.bind(("127.0.0.1", ${port}))`,
      "  return u.getsockname()[1]",
      `sys.exit(3 if [bind(50000), bind(50000)] == [${port}] * 2 else 4)`,
    ),
  );
  expect(exit).toEqual({ code: 3, signal: null });
  expect(binds).toEqual([
    expect.objectContaining({
      address: `udp://127.0.0.1:${port}`,
      error: null,
      options: { SO_BROADCAST: 1, SO_RCVBUF: 50000, O_NONBLOCK: 1 },
      program: "python3",
      count: 2,
    }),
  ]);
});

test("standard output is the configuration alone; the server's goes to standard error", async () => {
  const port = await freePort();
  const script = python(`u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.bind(("127.0.0.1", ${port})); print("hello")`);
  const { code, stdout, stderr } = await berth(["explain", "arena", ...script]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "hello\n" });
  expect(sockets(stdout)).toEqual({ game: [`udp://127.0.0.1:${port}`] });
});

test("a bind that fails also fails for the server, and is reported with its errno", async () => {
  const busy = createSocket("udp4").bind(0, "127.0.0.1");
  await once(busy, "listening");
  const { port } = busy.address();
  const script = python(
    "u = s.socket(s.AF_INET, s.SOCK_DGRAM)",
    `try: u.bind(("127.0.0.1", ${port}))`,
    "except OSError as e: sys.exit(e.errno)",
  );
  const { binds, exit, toml } = await explain(10, ...script);
  busy.close();
  expect(exit.code).toBe(98);
  expect(binds.map(({ error }) => error)).toEqual(["EADDRINUSE"]);
  expect(sockets(toml)).toEqual({ game: [`udp://127.0.0.1:${port}`] });
});

test("a server that goes to the background is seen, and ended by Ctrl-C", async () => {
  const port = await freePort();
  const script = python(
    "if os.fork(): os._exit(0)",
    "os.setsid()",
    `u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.bind(("127.0.0.1", ${port}))`,
    "print('pid', os.getpid(), flush=True)",
    "signal.pause()",
  );
  const child = start(["explain", "arena", "--", ...script]);
  const lines = new Lines(child.stderr);
  const pid = Number((await lines.find((line) => line.startsWith("pid "))).slice(4));
  let stdout = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.kill("SIGINT");
  expect(await once(child, "close")).toEqual([0, null]);
  expect(sockets(stdout)).toEqual({ game: [`udp://127.0.0.1:${port}`] });
  expect(isRunning(pid)).toBe(false);
});

test("a server that ignores SIGTERM is killed after the grace", async () => {
  const port = await freePort();
  const script = python(
    `u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.bind(("127.0.0.1", ${port}))`,
    "while True: signal.pause()",
  );
  // From its very beginning: on a busy machine Python may need longer to start than it is given.
  const stubborn = ["sh", "-c", `trap "" TERM; exec "$0" "$@"`, ...script];
  expect((await explain(1, ...stubborn)).exit).toEqual({ code: null, signal: "SIGKILL" });
});

test("a server that binds nothing gives no configuration and 1", async () => {
  expect(await berth(["explain", "arena", "true"])).toEqual({
    code: 1,
    stdout: "",
    stderr: "berth: the server bound nothing that a berth could hold; read its output above, or give it more time\n",
  });
});

test("a server that cannot be run is named", async () => {
  const { code, stdout, stderr } = await berth(["explain", "arena", "--", "/nonexistent/server"]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain("berth-launch: cannot run /nonexistent/server: No such file or directory");
});

test.each([
  [["explain", "a/b", "true"], "cannot name a berth"],
  [["explain", "--for", "0", "arena", "true"], "--for 0 is not a number of seconds"],
  [["explain", "--for", "soon", "arena", "true"], "--for soon is not a number of seconds"],
  [["explain", "arena"], "command"],
  [["explain", "arena", "--"], "the server is missing"],
])("%j is a mistake of the caller's", async (args, message) => {
  const { code, stdout, stderr } = await berth(args);
  expect({ code, stdout }).toEqual({ code: 100, stdout: "" });
  expect(stderr).toContain(message);
});

test.each([
  [["--trace-binds", "2", "true"], "is not the number of a descriptor above 2"],
  [["--trace-binds", "3x", "true"], "is not the number of a descriptor above 2"],
  [["--trace-binds", "3"], "COMMAND is missing"],
])("berth-launch %j is a mistake of the caller's", (args, message) => {
  const { status, stderr } = spawnSync(launcherPath(), args, { encoding: "utf8" });
  expect(status).toBe(100);
  expect(stderr).toContain(message);
});

test("berth-launch starts nothing when the notify descriptor cannot be sent", () => {
  const { status, stdout, stderr } = spawnSync(launcherPath(), ["--trace-binds", "3", "echo", "started"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe", "ignore"],
  });
  expect({ status, stdout }).toEqual({ status: 111, stdout: "" });
  expect(stderr).toContain("cannot send the notify descriptor over fd 3");
});

test("ioq3ded's port is found out, and stays its own when it is busy", needs("ioq3ded"), async () => {
  using folder = new TestFolder();
  const busy = createSocket("udp4").bind(await freePort(), "0.0.0.0");
  await once(busy, "listening");
  const { port } = busy.address();
  const { binds, toml } = await explain(15, ...quake(folder, port));
  busy.close();
  expect(binds.map(({ address, error }) => [address, error]).slice(0, 2)).toEqual([
    [`udp://0.0.0.0:${port}`, "EADDRINUSE"],
    [`udp://0.0.0.0:${port + 1}`, null],
  ]);
  expect(binds[0]?.options).toEqual({ SO_BROADCAST: 1, O_NONBLOCK: 1 });
  expect(sockets(toml)).toEqual({ game: [`udp://0.0.0.0:${port}`] });
});
