/** Servers that say how they are, sd_notify(3), to the broker: real ones, started by the real launcher. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { FdHandle } from "../../../src/fd.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { native } from "../../../src/native.ts";
import { AF_UNIX, encodeSockaddr } from "../../../src/net/address.ts";
import { SOCK_DGRAM } from "../../../src/net/transport.ts";
import { startBroker, type TestBroker, TestFolder } from "../../support/broker.ts";
import { leaksNothing, openFds } from "../../support/fds.ts";
import { isRoot, needs } from "../../support/needs.ts";
import { askServer, notifyServer } from "../../support/notify-server.ts";
import { freePort } from "../../support/ports.ts";
import { Watcher } from "../../support/watcher.ts";

leaksNothing("soon");

const programs = new TestFolder({ "server.py": notifyServer });
afterAll(() => programs[Symbol.dispose]());
const user = isRoot ? "user = 65534\n" : "";

interface Scene extends AsyncDisposable {
  readonly broker: TestBroker;
  readonly watcher: Watcher;
  /**
   * Starts a server through the launcher, with these variables, and waits for its lease. `before` runs the launcher.
   */
  launch(
    env?: Readonly<Record<string, string>>,
    args?: readonly string[],
    before?: readonly string[],
  ): Promise<ChildProcess>;
  /** Runs Python in the server; the repr of what it left in `result`. */
  do(code: string): Promise<string>;
  /** Runs Python in the server, whatever becomes of it. */
  tell(code: string): void;
}

async function scene(more = ""): Promise<Scene> {
  const port = await freePort();
  const command = `command = ["/usr/bin/python3", "-S", "${programs.path}/server.py"]\n`;
  const configuration = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\n${user}${command}${more}`;
  const broker = await startBroker({ "arena.toml": configuration });
  const watcher = await Watcher.connect(broker.socket, 1);
  const children: ChildProcess[] = [];
  const launch: Scene["launch"] = async (env = {}, args = [], before = []) => {
    const from = watcher.events.length;
    const { NOTIFY_SOCKET: _, ...inherited } = process.env;
    const [program = "", ...words] = [...before, launcherPath(), "--socket", broker.socket, ...args, "arena"];
    const child = spawn(program, words, {
      env: { ...inherited, ...env },
      stdio: ["ignore", "ignore", "inherit"],
    });
    children.push(child);
    await watcher.until(({ event }) => event === "acquired" || event === "handover", from);
    return child;
  };
  const dispose = async (): Promise<void> => {
    await watcher[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
    for (const child of children) {
      const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
      child.kill("SIGKILL");
      await ended;
    }
  };
  const tell = (code: string): void => {
    const socket = createSocket("udp4");
    socket.send(code, port, "127.0.0.1", () => socket.close());
  };
  return { broker, watcher, launch, tell, do: (code) => askServer(port, code), [Symbol.asyncDispose]: dispose };
}

const view = ({ broker }: Scene): TestBroker["broker"]["berths"][number] | undefined => broker.broker.berths[0];
const stashed = (one: Scene): string[] =>
  view(one)
    ?.descriptors.filter(({ kind }) => kind === "stash")
    .map(({ name }) => name) ?? [];

describe("a server that berth-launch starts outside of systemd", () => {
  it("gets NOTIFY_SOCKET, and its READY=1 and STATUS= arrive", async () => {
    await using one = await scene('watchdog = "90s"\n');
    const { pid } = await one.launch();
    expect(await one.do("result = os.environ['NOTIFY_SOCKET']")).toBe(`'${one.broker.socket}.notify'`);
    expect(await one.do("result = os.environ['WATCHDOG_USEC'], int(os.environ['WATCHDOG_PID'])")).toBe(
      `('90000000', ${pid})`,
    );
    expect(view(one)).toMatchObject({ ready: false });
    await one.do("notify('READY=1\\nSTATUS=map dm6, 3 players')");
    const { berth } = await one.watcher.until(({ event }) => event === "ready");
    expect(berth).toMatchObject({ ready: true, status: "map dm6, 3 players" });
    await one.do("notify('STATUS=')");
    await one.watcher.until(({ event, berth }) => event === "status" && !berth.status);
    await one.do("notify('STOPPING=1')");
    await one.watcher.until(({ event }) => event === "stopping");
  });

  it("that inherits NOTIFY_SOCKET from its service manager sends to that one", async () => {
    await using one = await scene("inherit-environment = false\n");
    const { pid } = await one.launch({ NOTIFY_SOCKET: "/run/other", WATCHDOG_USEC: "7", WATCHDOG_PID: "8" });
    expect(pid).toBeGreaterThan(0);
    expect(await one.do("result = [os.environ[n] for n in ('NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID')]")).toBe(
      "['/run/other', '7', '8']",
    );
  });

  it("or by its configuration", async () => {
    await using one = await scene('environment = { NOTIFY_SOCKET = "" }\n');
    await one.launch({ WATCHDOG_USEC: "7" });
    expect(await one.do("result = os.environ['NOTIFY_SOCKET'], os.environ.get('WATCHDOG_USEC')")).toBe("('', None)");
  });

  it("takes over as soon as it says READY=1", async () => {
    await using one = await scene();
    const old = await one.launch();
    const { pid } = await one.launch({}, ["--replace", "must"]);
    // Whichever of the two gets it: READY=1 of the old one changes nothing.
    for (let ready = false; !ready; ready = view(one)?.state === "occupied") await one.do("notify('READY=1')");
    expect(view(one)?.lease?.pid).toBe(pid);
    old.kill("SIGKILL");
  });

  it("has a child that speaks for it", async () => {
    await using one = await scene();
    await one.launch();
    await one.do("child(lambda: (notify('STATUS=from the child'), barrier()))");
    await one.watcher.until(({ berth }) => berth.status === "from the child");
  });
});

describe("a server that may call chroot(2)", needs("root", "unshare"), () => {
  const mayMove = 'capabilities = ["CAP_SYS_CHROOT"]\n';

  it("is heard after it has: it gets an abstract name, and nobody else is heard there", async () => {
    await using one = await scene(mayMove);
    await one.launch();
    const name = `${one.broker.socket}.notify`;
    expect(await one.do("result = os.environ['NOTIFY_SOCKET']")).toBe(`'@${name}'`);
    using stranger = FdHandle.adopt(native.socket(AF_UNIX, SOCK_DGRAM, 0));
    expect(native.connect(stranger.fd, encodeSockaddr({ family: "unix", path: name, abstract: true }))).toBe(0);
    expect(native.sendmsg(stranger.fd, Buffer.from("READY=1\nSTATUS=lies"), 0, new Int32Array(0), 0)).toBeGreaterThan(
      0,
    );
    expect(await one.do("os.chroot('/proc/self/fdinfo'); notify('STATUS=inside'); result = barrier()")).toBe("True");
    expect(view(one)).toMatchObject({ ready: false, status: "inside" });
    await one.do("notify('READY=1\\nFDSTORE=1', os.memfd_create('m')); barrier()");
    expect(view(one)).toMatchObject({ ready: true });
    expect(stashed(one)).toEqual(["stored"]);
  });

  it("gets the path where the name does not reach: in another network namespace", async () => {
    await using one = await scene(mayMove);
    await one.launch({}, [], ["unshare", "--net"]);
    const environment = `/proc/${one.broker.broker.berths[0]?.lease?.pid}/environ`;
    await expect
      .poll(() => readFileSync(environment, "latin1").split("\0"))
      .toContain(`NOTIFY_SOCKET=${one.broker.socket}.notify`);
  });
});

it(
  "a broker whose abstract name another program has says so, and its servers get the path",
  needs("root"),
  async () => {
    using folder = new TestFolder();
    const socket = join(folder.path, "control");
    using squatter = FdHandle.adopt(native.socket(AF_UNIX, SOCK_DGRAM, 0));
    const name = encodeSockaddr({ family: "unix", path: `${socket}.notify`, abstract: true });
    expect(native.bind(squatter.fd, name)).toBe(0);
    const port = await freePort();
    const command = 'command = ["/bin/sh", "-c", "echo $NOTIFY_SOCKET"]';
    const configuration = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\n${user}${command}\ncapabilities = ["CAP_SYS_CHROOT"]\n`;
    await using broker = await startBroker({ "arena.toml": configuration }, { socket });
    expect(broker.log.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(
        /^cannot open @\S+\.notify, so servers that call chroot\(2\) cannot report READY=1: .*EADDRINUSE/,
      ),
    );
    const { NOTIFY_SOCKET: _, ...env } = process.env;
    const child = spawn(launcherPath(), ["--socket", socket, "arena"], { env, stdio: ["ignore", "pipe", "inherit"] });
    const [said] = (await once(child.stdout, "data")) as [Buffer];
    expect(said.toString()).toBe(`${socket}.notify\n`);
  },
);

describe("descriptors that a server keeps with FDSTORE=1", () => {
  it("are the next tenant's, under the names they were given, as often as they were kept", async () => {
    await using one = await scene();
    const first = await one.launch();
    await one.do("m = [os.memfd_create('m') for _ in range(3)]; [os.write(f, b'%d' % n) for n, f in enumerate(m)]");
    await one.do("notify('FDSTORE=1\\nFDNAME=state', m[0], m[1]); notify('FDSTORE=1', m[2])");
    // The same again is the same; another under a name is another.
    expect(await one.do("notify('FDSTORE=1\\nFDNAME=state', m[1], m[2]); result = barrier()")).toBe("True");
    expect(stashed(one)).toEqual(["state", "state", "stored", "state"]);
    first.kill("SIGKILL");
    await one.watcher.count("released", 1);
    await one.launch();
    const read = (name: string): Promise<string> => one.do(`result = [os.pread(f, 9, 0) for f in fds['${name}']]`);
    expect(await read("state")).toBe("[b'0', b'1', b'2']");
    expect(await read("stored")).toBe("[b'2']");
    // They are the server's until it has them removed.
    await one.do("notify('READY=1'); barrier()");
    expect(stashed(one)).toHaveLength(4);
    expect(await one.do("notify('FDSTOREREMOVE=1\\nFDNAME=state'); result = barrier()")).toBe("True");
    expect(stashed(one)).toEqual(["stored"]);
    await one.do("notify('FDSTOREREMOVE=1'); barrier()");
    expect(stashed(one)).toEqual(["stored"]);
    await one.do("notify('FDSTOREREMOVE=1\\nFDNAME=stored'); barrier()");
    expect(stashed(one)).toEqual([]);
  });

  it("must be of a kind that can be kept, with a name that can, and not too many", async () => {
    await using one = await scene();
    await one.launch();
    await one.do("notify('FDSTORE=1\\nFDNAME=d', os.open('/', 0)); barrier()");
    await one.do("notify('FDSTORE=1\\nFDNAME=a:b', os.memfd_create('x')); barrier()");
    await one.do("m = [os.memfd_create('x') for _ in range(251)]; notify('FDSTORE=1\\nFDNAME=m', *m); barrier()");
    const refused = one.broker.log.filter(({ event }) => event === "stash-refused").map(({ message }) => message);
    expect(refused).toEqual([
      expect.stringContaining("only sockets, pipes, files and memfds"),
      expect.stringContaining('FDNAME="a:b"'),
      expect.stringContaining("at most 251 descriptors"),
    ]);
    expect(stashed(one)).toHaveLength(250);
  });

  it("are each kept when they are one file opened twice, or the two ends of a pipe: only the same open file is dropped", async () => {
    await using one = await scene();
    const first = await one.launch();
    await one.do("p = os.pipe(); notify('FDSTORE=1\\nFDNAME=pipe', *p); barrier()");
    await one.do("f = [os.open(sys.argv[0], 0) for _ in range(2)]; os.lseek(f[1], 7, 0)");
    await one.do("notify('FDSTORE=1\\nFDNAME=file', *f, os.dup(f[0])); barrier()");
    expect(stashed(one)).toEqual(["pipe", "pipe", "file", "file"]);
    const dropped = one.broker.log.filter(({ event }) => event === "stash-refused");
    expect(dropped.map(({ level, message }) => [level, message])).toEqual([
      [
        "info",
        `berth arena: a descriptor of pid ${first.pid} is not kept: the berth has it already under the name file`,
      ],
    ]);
    first.kill("SIGKILL");
    await one.watcher.count("released", 1);
    await one.launch();
    expect(await one.do("result = [os.lseek(n, 0, 1) for n in fds['file']]")).toBe("[0, 7]");
    expect(await one.do("result = os.write(fds['pipe'][1], b'x'), os.read(fds['pipe'][0], 1)")).toBe("(1, b'x')");
  });

  it("are logged when they are dropped because the message does not ask to keep them", async () => {
    await using one = await scene();
    const { pid } = await one.launch();
    expect(await one.do("notify('FDNAME=state', os.memfd_create('m')); result = barrier()")).toBe("True");
    expect(one.broker.log.map(({ message }) => message)).toContain(
      `berth arena: a descriptor of pid ${pid} is not kept: it came without FDSTORE=1`,
    );
  });

  it("do not fill the log when they are refused, nor does a server that repeats STOPPING=1", async () => {
    await using one = await scene();
    await one.launch();
    await one.do(
      "[notify('FDSTORE=1\\nFDNAME=' + ':' * 3000, *[os.memfd_create('m')] * 20) for _ in range(5)]; barrier()",
    );
    await one.do("[notify('STOPPING=1') for _ in range(50)]; barrier()");
    const told = (wanted: string): string[] =>
      one.broker.log.filter(({ event }) => event === wanted).map(({ message }) => message);
    expect(told("stopping")).toHaveLength(1);
    expect(told("stash-refused")).toHaveLength(10);
    expect(told("stash-refused").at(-1)).toMatch(/":{80}" is not a name of .*; further ones are not logged$/);
  });
});

describe("a server under a watchdog", () => {
  it("is ended by SIGABRT when it has been silent for too long, once it is ready", async () => {
    await using one = await scene('watchdog = "1s"\n');
    const child = await one.launch();
    const exited = once(child, "exit");
    one.tell("notify('READY=1')");
    expect(await exited).toEqual([null, "SIGABRT"]);
    expect(one.broker.log.map(({ message }) => message)).toContainEqual(
      expect.stringContaining("has not sent WATCHDOG=1 for 1 s"),
    );
  });

  it("or when it says WATCHDOG=trigger", async () => {
    await using one = await scene();
    const child = await one.launch();
    const exited = once(child, "exit");
    one.tell("notify('WATCHDOG=trigger')");
    expect(await exited).toEqual([null, "SIGABRT"]);
  });

  it("that asks for less time by WATCHDOG_USEC= gets it", async () => {
    await using one = await scene('watchdog = "90s"\n');
    const child = await one.launch();
    const exited = once(child, "exit");
    one.tell("notify('READY=1\\nWATCHDOG_USEC=50000')"); // it may have no time for an answer
    expect(await exited).toEqual([null, "SIGABRT"]);
  });
});

describe("messages from other processes, and invalid ones, are ignored", () => {
  it("garbage of the server's own", async () => {
    await using one = await scene();
    await one.launch();
    await one.do("notify(b'\\xff\\xfe\\0\\0=\\n=x\\nREADY\\nSTATUS', *[os.open('/dev/zero', 0)] * 253)");
    await one.do("notify(b'READY=1\\n' + b'x' * 5000)");
    await one.do("notify('READY=1\\nREADY=0\\nMAINPID=1\\nEXTEND_TIMEOUT_USEC=1\\nERRNO=2\\nBARRIER=1'); barrier()");
    // Of the last one the first word counts, so it is ready.
    expect(view(one)).toMatchObject({ ready: true });
    expect(one.watcher.names()).toEqual(["acquired", "ready"]);
    expect(openFds().filter((fd) => fd.endsWith("/dev/zero"))).toEqual([]);
  });

  it("another process, however much it sends, and the server is heard all the same", async () => {
    await using one = await scene();
    await one.launch();
    const address = encodeSockaddr({ family: "unix", path: `${one.broker.socket}.notify`, abstract: false });
    const stranger = FdHandle.adopt(native.socket(AF_UNIX, SOCK_DGRAM, 0));
    expect(native.connect(stranger.fd, address)).toBe(0);
    const message = Buffer.from("READY=1\nSTATUS=lies\nFDSTORE=1");
    let sent = 0;
    while (sent < 2000) {
      if (native.sendmsg(stranger.fd, message, 0, Int32Array.of(stranger.fd), 1) > 0) sent++;
      else await setImmediate();
    }
    expect(await one.do("notify('STATUS=truth'); result = barrier()")).toBe("True");
    stranger.close();
    expect(view(one)).toMatchObject({ ready: false, status: "truth" });
    expect(stashed(one)).toEqual([]);
  });

  it("a process that was a child of the tenant's no longer", async () => {
    await using one = await scene();
    await one.launch();
    // Its parent ends first, so it is nobody's: the message cannot be told from a stranger's.
    await one.do("orphan(lambda: (notify('STATUS=orphan'), barrier()))");
    await one.do("notify('STATUS=truth')");
    await one.watcher.until(({ berth }) => berth.status === "truth");
    expect(one.watcher.events.map(({ berth }) => berth.status)).not.toContain("orphan");
  });
});

it("a control socket with so long a path that there is no room for another beside it serves without", async () => {
  const folder = new TestFolder();
  const socket = join(folder.path, "x".repeat(107 - folder.path.length - 1));
  const port = await freePort();
  const configuration = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n`;
  await using broker = await startBroker({ "arena.toml": configuration }, { socket });
  expect(broker.log.map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/^cannot open .*\.notify, so servers cannot report READY=1: /),
  );
  folder[Symbol.dispose]();
});
