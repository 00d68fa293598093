/** What servers do around bind(2), in a fixture's processes, against the built daemon. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { childrenOf } from "../support/guards.ts";
import { inject } from "../support/inject.ts";
import { needs } from "../support/needs.ts";
import { asUser } from "../support/wrap.ts";
import {
  askTcp,
  askUdp,
  berth,
  compile,
  eventually,
  footprint,
  inodesAt,
  linesOf,
  NOBODY,
  run,
  settledFootprint,
  socketsOf,
} from "./harness.ts";

const folder = new TestFolder();
let program: string;
let broker: BrokerProcess;
let idle: ReturnType<typeof footprint>;

beforeAll(async () => {
  program = compile(folder, "scenarios.c", ["-lpthread"]);
  broker = await spawnBroker({
    "one.toml": berth({ game: ["udp://127.0.0.1:611"], query: ["tcp://127.0.0.1:611"] }),
    "brief.toml": berth({ game: ["udp://127.0.0.1:640"], query: ["tcp://127.0.0.1:640"] }, 'lease = "process"'),
    "allow.toml": berth({ game: ["udp://127.0.0.1:612"] }, 'other-binds = "allow"'),
    "loopback.toml": berth({ game: ["udp://127.0.0.1:613"] }, 'other-binds = "loopback"'),
    "ephemeral.toml": berth({ game: ["udp://127.0.0.1:603"] }, 'other-binds = "ephemeral"'),
    "pair.toml": berth({ game: ["udp://127.0.0.1:614", "udp://127.0.0.2:614"] }),
    "any.toml": berth({ game: ["udp://127.0.0.1:0"] }),
    "group.toml": berth(
      {
        a: ["udp://127.0.0.1:615"],
        b: ["udp://127.0.0.1:615"],
        c: ["udp://127.0.0.1:615"],
        d: ["udp://127.0.0.1:615"],
      },
      "",
      "reuse-port = true",
    ),
    "unix.toml": berth({ rcon: [`unix://${join(folder.path, "rcon")}`], log: ["unix-dgram://@berthd-test-616"] }),
  });
  idle = await settledFootprint(broker.pid);
});

afterAll(async () => {
  await broker?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const scenario = (berthName: string, name: string, port: number, ...more: string[]): Promise<string[]> =>
  linesOf(broker, berthName, [program, name, String(port), ...more]);
const [held] = [(): string => inodesAt("udp", 611)[0] ?? "none"];

describe("a server under bind delivery", needs("root"), () => {
  test.each(["one", "allow", "loopback"])(
    "is told of a wrong call what the kernel would have told it: %s",
    async (name) => {
      const ids = { uid: NOBODY, gid: NOBODY };
      const plain = execFileSync(program, ["errnos", "1"], { ...ids, encoding: "utf8" })
        .trimEnd()
        .split("\n");
      expect(plain.length).toBeGreaterThan(300);
      expect(await scenario(name, "errnos", 1)).toEqual(plain);
    },
  );

  test("has the very socket the broker holds", async () => {
    expect(await scenario("one", "once", 611)).toEqual([`0 ${held()} 611`]);
    expect(socketsOf(broker.pid)).toContain(held());
  });

  test("binding a bound socket again is EINVAL; a second socket is EADDRINUSE, as from the kernel", async () => {
    const [first, second, third] = await scenario("one", "again", 611);
    expect([first, second]).toEqual([`0 ${held()}`, `EINVAL ${held()}`]);
    expect(third).toMatch(/^EADDRINUSE /);
  });

  test("that closes its socket and binds again gets the same one, though others fit too", async () => {
    const lines = await scenario("pair", "reopen", 614);
    expect(new Set(lines).size).toBe(1);
    expect(lines[0]).toMatch(/^0 \d+$/);
  });

  test("finds it at each number it had duplicated its own to, close-on-exec as it was", async () => {
    expect(await scenario("one", "dups", 611)).toEqual(["0", `${held()} ${held()} ${held()}`, "cloexec 0 0 1"]);
  });

  test("keeps close-on-exec and non-blocking", async () => {
    expect(await scenario("one", "flags", 611)).toEqual(["0 1 1"]);
  });

  test("hears by an epoll registration made before bind", async () => {
    expect(await scenario("one", "polled", 611)).toEqual(["0", "EEXIST", "1 1"]);
  });

  test("may close every descriptor it does not know", async () => {
    expect(await scenario("one", "closes", 611)).toEqual(["0", "1 0"]);
  });

  test("that is connected already gets EINVAL, as from the kernel", async () => {
    expect((await scenario("one", "connected", 611))[0]).toMatch(/^EINVAL /);
  });

  test("with four workers in a SO_REUSEPORT group has each of the four sockets once", async () => {
    await using server = run(broker, "group", [program, "workers", "615"]);
    const lines = await server.said(4);
    expect(lines.toSorted()).toEqual(
      inodesAt("udp", 615)
        .map((inode) => `0 ${inode}`)
        .toSorted(),
    );
    const workers = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8").trim().split(" ");
    for (const pid of workers) process.kill(Number(pid), "SIGKILL");
  });

  test.each(["threads", "leaderless", "apart", "grandchild"])("binds in %s", async (name) => {
    const lines = await scenario("one", name, 611);
    expect(lines.length).toBe(name === "threads" ? 8 : 1);
    const bound = lines.filter((line) => !line.startsWith("EADDRINUSE"));
    expect(bound.length).toBe(1);
    for (const line of bound) expect(line).toMatch(new RegExp(`^0 ${held()}( 611)?$`));
  });

  test.each(["restarting", "interrupting"])(
    "binds a hundred times while a signal comes every millisecond: %s",
    async (name) => {
      await using server = run(broker, "one", [program, name, "611"]);
      const [outcome, interrupted] = await server.said(2);
      expect(outcome).toBe("0 failed, many signals");
      if (name === "restarting") expect(interrupted).toBe("0");
      // Until the broker has taken the report, a handler without SA_RESTART makes it EINTR (seccomp_unotify(2)), and
      // the server asks again; what the broker has taken is answered, and never asked twice.
      const bound = (): number => broker.log.filter(({ event, pid }) => event === "bound" && pid === server.pid).length;
      expect(await eventually(bound, 100)).toBe(100);
    },
  );

  test("that asks for any port gets the one the broker was given, if its berth has such a one", async () => {
    const [line = ""] = await scenario("any", "once", 0);
    const [, inode = "", port] = line.split(" ");
    expect(line).toMatch(/^0 /);
    expect(inodesAt("udp", Number(port))).toEqual([inode]);
    expect(socketsOf(broker.pid)).toContain(inode);
  });

  test("gets a held path and name, and any other path, name and netlink from the kernel", async () => {
    const own = join(folder.path, "rcon");
    execFileSync("chmod", ["777", folder.path]);
    const lines = await scenario("unix", "unixes", 616, own);
    const inodes = socketsOf(broker.pid);
    expect(lines.map((line) => line.split(" ")[0])).toEqual(["0", "0", "0", "0", "0", "0"]);
    expect(lines.map((line) => inodes.includes(line.split(" ")[1] ?? ""))).toEqual([
      true,
      false,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("an address that is not the berth's", needs("root"), () => {
  test.each([
    ["one", 611, ["0", "0", "EACCES", "EACCES", "EACCES", "EACCES", "lite EACCES"]],
    ["loopback", 613, ["0", "0", "0", "EACCES", "EACCES", "EACCES", "lite EACCES"]],
    ["ephemeral", 603, ["0", "0", "EADDRINUSE", "EADDRINUSE", "EACCES", "0", "lite EACCES"]],
    ["allow", 612, ["0", "0", "0", "0", "EACCES", "0", "lite EACCES"]],
  ])("is answered as other-binds says: %s", async (name, port, answers) => {
    expect(await scenario(name, "others", port)).toEqual(answers);
  });

  test("is refused with a log line that names the address and the berth's sockets", async () => {
    const line = await broker.logged(({ event, message }) => event === "bind-refused" && message.includes("10611"));
    expect(line.message).toContain("berth one");
    expect(line.message).toContain("udp://127.0.0.1:10611");
    expect(line.message).toContain("udp://127.0.0.1:611, tcp://127.0.0.1:611");
    const lite = await broker.logged(({ message }) => message.includes("may not bind UDP-Lite 127.0.0.1:611"));
    expect(lite.message).toContain("a berth holds TCP and UDP only");
  });
});

test(
  "a child that outlives its server's lease gets nothing of the berth, which the next tenant has",
  needs("root"),
  async () => {
    await using server = run(broker, "brief", [program, "orphan", "640"]);
    const [line = ""] = await server.said(1);
    const lease = await broker.logged(({ event, pid }) => event === "released" && pid === server.pid);
    expect(lease.message).toContain("no longer has it: it exited");
    await using next = run(broker, "brief", [program, "serve", "640"]);
    await next.said(1);
    process.kill(Number(/^waiting (\d+)$/.exec(line)?.[1]), "SIGUSR1");
    await server.until(({ lines }) => lines.length === 2);
    expect(server.lines[1]).toMatch(/^EACCES /);
    expect((await askUdp(640, "still")).toString()).toBe("still");
  },
);

test(
  "killed and started again while clients connect: none is refused, and what queued reaches the successor",
  needs("root"),
  async () => {
    const first = run(broker, "one", [program, "serve", "611"]);
    await first.said(1);
    let running = true;
    const answers: string[] = [];
    const clients = (async () => {
      while (running) answers.push(await askTcp(611, ""));
    })();
    await first.kill();
    const queued = connect(611, "127.0.0.1").setEncoding("latin1");
    const datagram = askUdp(611, "patience");
    await using second = run(broker, "one", [program, "serve", "611"]);
    let text = "";
    for await (const part of queued) text += part;
    expect(text).toBe(`served by ${second.pid}\n`);
    expect((await datagram).toString()).toBe("patience");
    running = false;
    await clients; // ECONNREFUSED would have rejected it
    expect(answers.at(-1)).toBe(`served by ${second.pid}\n`);
  },
);

test("leaves neither a thread nor a descriptor in the broker", needs("root"), async () => {
  expect(await eventually(() => footprint(broker.pid), idle)).toEqual(idle);
});

/** A zombie is not: whoever inherits it buries it when it likes. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("a broker that stops", needs("root"), () => {
  test.each(["SIGTERM", "SIGKILL"] as const)(
    "%s: what a server has serves on, a new bind is refused in plain words, and its bind fallback ends with the last server",
    async (signal) => {
      await using own = await spawnBroker({
        "a.toml": berth({ game: ["udp://127.0.0.1:617"], query: ["tcp://127.0.0.1:617"] }),
      });
      await using server = run(own, "a", [program, "serve", "617"]);
      await server.said(1);
      const [fallback = 0] = childrenOf(own.pid, "berth-keep");
      expect(isRunning(fallback)).toBe(true);
      const exited = new Promise((resolve) => own.child.once("exit", (code, by) => resolve(by ?? code)));
      own.child.kill(signal);
      expect(await exited).toBe(signal === "SIGTERM" ? 0 : "SIGKILL");
      expect((await askUdp(617, "hello")).toString()).toBe("hello");
      expect(await askTcp(617, "")).toBe(`served by ${server.pid}\n`);
      server.child.stdin?.write("x");
      await server.said(2);
      server.child.stdin?.write("u"); // with AF_UNSPEC
      await server.said(3);
      expect(server.lines.slice(1).map((line) => line.split(" ")[0])).toEqual(["EADDRNOTAVAIL", "EADDRNOTAVAIL"]);
      await server[Symbol.asyncDispose]();
      expect(await eventually(() => isRunning(fallback), false)).toBe(false);
    },
  );

  test("SIGKILL while it answers a bind: its bind fallback answers that one too", needs("strace"), async () => {
    await using own = await spawnBroker({
      "a.toml": berth({ game: ["udp://127.0.0.1:617"], query: ["tcp://127.0.0.1:617"] }),
    });
    await using server = run(own, "a", [program, "serve", "617"]);
    await server.said(1);
    // Receive, see whether it still waits, place the socket, answer.
    const stop = await inject(own.pid, "ioctl", "signal=SIGKILL:when=3");
    const exited = new Promise((resolve) => own.child.once("exit", (code, by) => resolve(by ?? code)));
    server.child.stdin?.write("x");
    expect(await exited).toBe("SIGKILL");
    await stop();
    await server.said(2);
    expect(server.lines[1]).toMatch(/^EADDRNOTAVAIL /);
  });
});

test("without root at all: broker and server are nobody's, on a high port", needs("root", "setpriv"), async () => {
  await using own = await spawnBroker(
    {
      "a.toml": berth({ game: ["udp://127.0.0.1:16180"], query: ["tcp://127.0.0.1:16180"] }).replace(
        'user = "nobody"\n',
        "",
      ),
    },
    ["--socket", `@berthd-test-${process.pid}`],
    asUser(65534),
  );
  await using server = run({ socket: `@berthd-test-${process.pid}` }, "a", [program, "serve", "16180"], {
    uid: NOBODY,
    gid: NOBODY,
  });
  await server.said(1);
  expect((await askUdp(16180, "rootless")).toString()).toBe("rootless");
  expect(socketsOf(own.pid)).toEqual(expect.arrayContaining(inodesAt("udp", 16180)));
});
