/** `berth explain`, built, with real servers: it is the server's own behaviour that has to come out. */
import { spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemAccounts } from "../../src/accounts.ts";
import { loadConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/toml/problem.ts";
import { launcherPath } from "../../src/launcher-path.ts";
import { native } from "../../src/native.ts";
import { formatListenAddress } from "../../src/net/address.ts";
import { askUdp, inodesAt, Server, socketsOf } from "../bind/harness.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { needs, pathOf } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, cli, type Ended, Lines, start } from "./support.ts";

interface Explained {
  readonly exit: { readonly code: number | null; readonly signal: string | null };
  readonly binds: readonly {
    readonly address: string;
    readonly error: string | null;
    readonly options: Readonly<Record<string, number>>;
    readonly pid: number;
    readonly program: string;
    readonly count: number;
    readonly protocol?: string;
    readonly lost: readonly string[];
  }[];
  readonly toml: string;
}

async function explain(seconds: number, ...command: string[]): Promise<Explained> {
  const { stdout } = await berth(["explain", "--for", String(seconds), "--json", "arena", "--", ...command]);
  return JSON.parse(stdout) as Explained;
}

/** Runs `berth explain` until the server prints a line "bound", then ends it as Ctrl-C does. */
async function explainUntilBound(command: readonly string[], cwd = "/"): Promise<Ended> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (part) => {
    stdout += part;
  });
  child.stderr.setEncoding("utf8").on("data", (part) => {
    stderr += part;
    if (/^bound$/m.test(stderr)) child.kill("SIGINT");
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** The addresses of each socket, by its name; the configuration must be in order. */
function sockets(toml: string): Record<string, string[]> {
  using folder = new TestFolder({ "arena.toml": toml });
  const accounts = systemAccounts(native);
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
  const { toml, exit } = await explain(60, process.execPath, "-e", script);
  expect(exit).toEqual({ code: 0, signal: null });
  const { game = [], ...others } = sockets(toml);
  expect(game.toSorted()).toEqual([`tcp://*:${port}`, `udp://0.0.0.0:${port}`, `udp://[::]:${port}`]);
  expect(others).toEqual({});
  expect(toml).toContain("# tcp://127.0.0.1:0 by node: any free port will do");
});

test("options that a server set before bind are reported, with the program and the number of calls", async () => {
  const port = await freePort();
  const { binds, exit } = await explain(
    60,
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

test("options that bind delivery does not carry over are named, and UDP-Lite is not called udp", async () => {
  const port = await freePort();
  const { binds, toml } = await explain(
    60,
    ...python(
      "u = s.socket(s.AF_INET, s.SOCK_DGRAM)",
      "u.setsockopt(s.SOL_SOCKET, 44, 1)", // SO_LOCK_FILTER
      "u.setsockopt(s.SOL_SOCKET, s.SO_RCVBUF, 50000)",
      "u.setsockopt(s.SOL_SOCKET, s.SO_REUSEADDR, 1)",
      `u.bind(("127.0.0.1", ${port}))`,
      "t = s.socket()",
      "t.setsockopt(s.IPPROTO_TCP, s.TCP_WINDOW_CLAMP, 5000)",
      `t.bind(("127.0.0.1", ${port}))`,
      `s.socket(s.AF_INET, s.SOCK_DGRAM, 136).bind(("127.0.0.1", ${port}))`,
    ),
  );
  expect(binds.map(({ address, protocol, lost }) => [address, protocol, lost])).toEqual([
    [`udp://127.0.0.1:${port}`, undefined, ["SO_LOCK_FILTER"]],
    [`tcp://127.0.0.1:${port}`, undefined, ["TCP_WINDOW_CLAMP"]],
    [`udp://127.0.0.1:${port}`, "UDP-Lite", []],
  ]);
  expect(sockets(toml)).toEqual({ game: [`udp://127.0.0.1:${port}`, `tcp://127.0.0.1:${port}`] });
  expect(toml).toContain(`# UDP-Lite 127.0.0.1:${port} by python3: a berth cannot hold UDP-Lite`);
});

/** Starts the built explain as nobody, whose ports below 1024 are not. */
function asNobody(...args: string[]): string[] {
  const ids = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"];
  return [pathOf("setpriv"), ...ids, process.execPath, cli, "explain", ...args];
}

function explainAsNobody(...args: string[]): Ended {
  const [program = "", ...words] = asNobody(...args);
  const child = spawnSync(program, words, { encoding: "utf8", cwd: "/" });
  return { code: child.status, stdout: child.stdout, stderr: child.stderr };
}

test(
  "a port that the user may not bind is one for the broker, and the server goes on",
  needs("root", "setpriv"),
  async () => {
    const script = python(
      "def bind(kind, port):",
      "  one = s.socket(s.AF_INET, kind)",
      '  one.bind(("127.0.0.1", port))',
      "bind(s.SOCK_DGRAM, 605)",
      "bind(s.SOCK_STREAM, 605)",
      'print("both", file=sys.stderr)',
    );
    const { code, stdout, stderr } = explainAsNobody("arena", "--", ...script);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "both\n" });
    expect(sockets(stdout)).toEqual({ game: ["udp://127.0.0.1:605", "tcp://127.0.0.1:605"] });
    expect(stdout).toContain("you may not bind it (EACCES)");
    expect(stdout).toContain('[tenant]\nusers = ["nobody"]\n');
  },
);

test(
  "a port below 1024 of an address that the host does not have is none for the broker",
  needs("root", "setpriv"),
  () => {
    const script = python(
      "def bind(family, host):",
      "  one = s.socket(family, s.SOCK_DGRAM)",
      "  try: one.bind((host, 605))",
      "  except OSError as error: print(error.strerror, file=sys.stderr)",
      'bind(s.AF_INET, "127.0.0.1")',
      'bind(s.AF_INET, "192.0.2.1")',
      'bind(s.AF_INET6, "7f00:1::")',
    );
    const { code, stdout, stderr } = explainAsNobody("arena", "--", ...script);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "Cannot assign requested address\n".repeat(2) });
    expect(sockets(stdout)).toEqual({ game: ["udp://127.0.0.1:605"] });
    expect(stdout).toContain("# udp://[7f00:1::]:605 by python3: failed with EADDRNOTAVAIL");
  },
);

test(
  "a server that binds UDP to the number of its TCP port is told apart from one with a random port",
  needs("root", "setpriv"),
  async () => {
    const script = python(
      "tcp, udp = s.socket(s.AF_INET, s.SOCK_STREAM), s.socket(s.AF_INET, s.SOCK_DGRAM)",
      'tcp.bind(("127.0.0.1", 606))',
      "udp.bind(tcp.getsockname())",
      "print(udp.getsockname() == tcp.getsockname(), file=sys.stderr)",
    );
    const { code, stdout, stderr } = explainAsNobody("arena", "--", ...script);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "True\n" });
    expect(sockets(stdout)).toEqual({ game: ["tcp://127.0.0.1:606", "udp://127.0.0.1:606"] });
  },
);

test("a server that has several sockets of one address at once gets as many", needs("root", "setpriv"), async () => {
  const script = python(
    "def bind(kind, port):",
    "  one = s.socket(s.AF_INET, kind)",
    "  one.setsockopt(s.SOL_SOCKET, s.SO_REUSEPORT, 1)",
    '  one.bind(("127.0.0.1", port))',
    "  if kind == s.SOCK_STREAM: one.listen()",
    "  return one",
    "workers = [bind(kind, 606) for kind in (s.SOCK_DGRAM, s.SOCK_STREAM) for _ in range(3)]",
    "bind(s.SOCK_DGRAM, 607).close()",
    "again = bind(s.SOCK_DGRAM, 607)",
    'print("bound", flush=True)',
    "signal.pause()",
  );
  const { stdout } = await explainUntilBound(asNobody("arena", "--", ...script));
  expect(sockets(stdout)).toEqual({
    game: [...Array(3).fill("udp://127.0.0.1:606"), ...Array(3).fill("tcp://127.0.0.1:606")],
    "game-2": ["udp://127.0.0.1:607"],
  });
  expect(stdout.match(/^reuse-port = true$/gm)).toHaveLength(1);
});

test(
  "--user runs the server as a berth does: that user, its groups and HOME, no capability",
  needs("root"),
  async () => {
    const port = await freePort();
    const script = python(
      `s.socket(s.AF_INET, s.SOCK_DGRAM).bind(("127.0.0.1", ${port}))`,
      'status = dict(line.split(":", 1) for line in open("/proc/self/status"))',
      'print(os.getresuid(), os.getresgid(), os.getgroups(), status["CapEff"].strip(), os.environ["USER"], os.getcwd())',
    );
    const { code, stdout, stderr } = await berth(["explain", "--user", "nobody", "arena", "--", ...script]);
    expect(code).toBe(0);
    const ids = "(65534, 65534, 65534) (65534, 65534, 65534) [65534] 0000000000000000 nobody";
    expect(stderr).toContain(`${ids} ${process.cwd()}\n`);
    expect(stdout).toContain('user = "nobody"\n');
    expect(stdout).not.toContain("[tenant]");
    expect(sockets(stdout)).toEqual({ game: [`udp://127.0.0.1:${port}`] });
  },
);

test("as root without --user the berth names who called sudo, or nobody", needs("root"), async () => {
  const port = await freePort();
  const script = python(`s.socket(s.AF_INET, s.SOCK_DGRAM).bind(("127.0.0.1", ${port}))`);
  const { stdout } = await berth(["explain", "arena", "--", ...script], { SUDO_USER: "games" });
  expect(stdout).toContain("# It ran as root here.");
  expect(stdout).toContain('user = "games"\n');
  const { stdout: unknown } = await berth(["explain", "arena", "--", ...script], { SUDO_USER: "root" });
  expect(unknown).toContain('user = "nobody"\n');
});

test("a folder that the user may not enter is not the berth's", needs("root"), async () => {
  using folder = new TestFolder({ "closed/.keep": "" });
  chmodSync(join(folder.path, "closed"), 0o700);
  const port = await freePort();
  const script = python(`s.socket(s.AF_INET, s.SOCK_DGRAM).bind(("127.0.0.1", ${port})); print(os.getcwd())`);
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [cli, "explain", "--user", "nobody", "arena", "--", ...script],
    {
      encoding: "utf8",
      cwd: join(folder.path, "closed"),
    },
  );
  expect(stderr).toBe(`berth: nobody may not enter ${folder.path}/closed, so the server starts in /\n/\n`);
  expect(stdout).toContain('directory = "/"\n');
});

test(
  "what it prints works when pasted: in any folder, whatever braces and names are in the command",
  needs("root"),
  async () => {
    using folder = new TestFolder({
      "a game %/server.py": [
        "#!/usr/bin/python3",
        "import socket, sys",
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        'u.bind(("127.0.0.1", int(open("port").read())))',
        'print("bound", flush=True)',
        "while True:",
        "  _, player = u.recvfrom(9)",
        '  u.sendto(" ".join(sys.argv[1:]).encode(), player)',
      ].join("\n"),
      "a game %/port": "606",
    });
    const cwd = join(folder.path, "a game %");
    chmodSync(join(cwd, "server.py"), 0o755);
    const words = ["{port}", "{fd:game} %i", "{brace}", '"\\'];
    for (const explained of [
      ["--user", "nobody"],
      ["--user", "65534"],
    ]) {
      const command = [process.execPath, cli, "explain", ...explained, "arena", "--", "./server.py", ...words];
      const { stdout } = await explainUntilBound(command, cwd);
      await using broker = await spawnBroker({ "arena.toml": stdout });
      expect(broker.log.filter(({ level }) => level === "error")).toEqual([]);
      await using server = new Server(launcherPath(), ["--socket", broker.socket, "arena"], { cwd: "/" });
      expect((await askUdp(606, "?")).toString()).toBe(words.join(" "));
      expect(socketsOf(server.pid)).toEqual(expect.arrayContaining(inodesAt("udp", 606)));
    }
  },
);

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
  const { binds, exit, toml } = await explain(60, ...script);
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

test("a UDP port that the server closes again is no port of its berth", async () => {
  const [game, source] = [await freePort(), await freePort()];
  const script = python(
    "def bind(port):",
    "  u = s.socket(s.AF_INET, s.SOCK_DGRAM)",
    '  u.bind(("0.0.0.0", port))',
    "  return u",
    `kept = bind(${game})`,
    // The command shows no port: so neither is taken for one that an operator wrote.
    `bind(int("${String(source).split("").join('""')}")).close()`,
    'print("bound", flush=True)',
    "signal.pause()",
  );
  const { stdout } = await explainUntilBound([process.execPath, cli, "explain", "arena", "--", ...script]);
  expect(sockets(stdout)).toEqual({ game: [`udp://0.0.0.0:${game}`] });
  expect(stdout).toContain('other-binds = "ephemeral"');
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
  [["explain", "--user", "no-such-user", "arena", "true"], "there is no user no-such-user"],
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
  [["--trace-binds", "3", "--as", "nobody", "true"], "--as nobody is not UID:GID[,GROUP…]"],
  [["--trace-binds", "3", "--as", "1:1,", "true"], "--as 1:1, is not UID:GID[,GROUP…]"],
  [["--trace-binds", "3", "--as", "1:4294967295", "true"], "is not UID:GID[,GROUP…]"],
  [["--as", "1:1", "arena"], "--as goes with --trace-binds only"],
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
  const { binds, toml } = await explain(60, ...quake(folder, port));
  busy.close();
  expect(binds.map(({ address, error }) => [address, error]).slice(0, 2)).toEqual([
    [`udp://0.0.0.0:${port}`, "EADDRINUSE"],
    [`udp://0.0.0.0:${port + 1}`, null],
  ]);
  expect(binds[0]?.options).toEqual({ SO_BROADCAST: 1, O_NONBLOCK: 1 });
  expect(sockets(toml)).toEqual({ game: [`udp://0.0.0.0:${port}`] });
});
