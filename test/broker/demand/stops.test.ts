/** Stop: a server ends with all its processes, for those who may, and its berth stays. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { native, packageRoot } from "../../../src/native.ts";
import { askUdp, berth, copyFixture, inodesAt, NOBODY, run, Server } from "../../bind/harness.ts";
import { startBroker, type TestBroker } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";

vi.setConfig({ testTimeout: 60_000 });
leaksNothing("soon");

const BROKER = "io.berthd.Broker";
const DENIED = "org.varlink.service.PermissionDenied";
const isGone = (pid: number): boolean => !existsSync(`/proc/${pid}`);

/** Its answer to one call, as a user. */
async function stop({ socket }: Pick<TestBroker, "socket">, name = "game", uid?: number) {
  using peer = await RawPeer.connect(socket, uid);
  return await peer.call("Stop", { berth: name });
}

/** Runs this Python with listen-fds in a process group of its own, until it has said its numbers. */
async function python(
  test: TestBroker,
  code: string,
  lines = 1,
  uid?: number,
): Promise<{ server: Server; pids: number[] }> {
  const launcher = join(packageRoot, "build/Release/berth-launch");
  const args = ["--socket", test.socket, "game", "--", "python3", "-u", "-c", code];
  const server = new Server(launcher, args, uid === undefined ? {} : { uid, gid: uid });
  return { server, pids: (await server.said(lines)).map(Number) };
}

const plain = (server = ""): string =>
  `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[server]\ncommand = ["x"]\n${server}`;
const told = "import os, signal\nprint(os.getpid())\n";

describe("Stop", () => {
  it("of a berth that nobody has is no failure, and of none that there is", async () => {
    await using test = await startBroker({ "game.toml": plain() });
    expect(await stop(test)).toEqual({ parameters: { killed: false, again: false } });
    expect(await stop(test, "nope")).toMatchObject({ error: `${BROKER}.NoSuchBerth` });
  });

  it("does not end the broker's own process", async () => {
    await using test = await startBroker({ "game.toml": plain() });
    using peer = await RawPeer.connect(test.socket);
    await peer.call("Acquire", { berth: "game" });
    expect(await stop(test)).toMatchObject({
      error: `${BROKER}.StopFailed`,
      parameters: { berth: "game", lease: { pid: process.pid }, message: expect.stringContaining("own process") },
    });
  });
});

describe("Stop of a server", needs("root"), () => {
  const user = 'user = "nobody"\n';

  it("ends a master and its workers, and the berth's socket stays open", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) });
    const script = copyFixture(test.folder, "background.py");
    await using first = run(test, "game", ["python3", "-u", script, "prefork", String(port)]);
    const workers = (await first.said(2)).map(Number);
    await askUdp(port, "?");
    const inodes = inodesAt("udp", port);
    const reply = await stop(test);
    expect(reply).toMatchObject({ parameters: { lease: { pid: first.pid }, killed: false, again: false } });
    for (const pid of [first.pid, ...workers]) await expect.poll(() => isGone(pid)).toBe(true);
    expect(test.broker.berths[0]?.state).toBe("vacant");
    expect(inodesAt("udp", port)).toEqual(inodes);
  });

  it("ends a server that has gone into the background", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) });
    const script = copyFixture(test.folder, "background.py");
    await using first = run(test, "game", ["python3", "-u", script, "early", String(port)]);
    const [pid = -1] = (await first.said(1)).map(Number);
    await expect.poll(() => test.broker.berths[0]?.lease?.pid).toBe(pid);
    expect(await stop(test)).toMatchObject({ parameters: { lease: { pid }, killed: false } });
    await expect.poll(() => isGone(pid)).toBe(true);
  });

  it("kills workers that live on after stop-timeout, although the berth is vacant by then", async () => {
    const server = 'lease = "process"\nstop-timeout = "1s"';
    const port = await freePort();
    await using test = await startBroker({ "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }, server) });
    const code = `import os, signal
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    print(os.getpid())
    while True: signal.pause()
signal.pause()`;
    const { server: first, pids } = await python(test, code);
    const [worker = -1] = pids;
    try {
      expect(await stop(test)).toMatchObject({ parameters: { lease: { pid: first.pid }, killed: true } });
      await expect.poll(() => isGone(worker)).toBe(true);
      expect(test.log.filter(({ event }) => event === "killed")).toHaveLength(1);
    } finally {
      if (!isGone(worker)) process.kill(worker, "SIGKILL");
      await first.kill();
    }
  });

  it("sends stop-signal, and SIGKILL after stop-timeout to one that ignores it", async () => {
    await using test = await startBroker({ "game.toml": plain(`${user}stop-signal = "SIGINT"\nstop-timeout = "1s"`) });
    const code = `${told}signal.signal(signal.SIGINT, lambda *_: os.write(1, b"asked\\n"))\nprint("set")\nwhile True: signal.pause()`;
    const { server } = await python(test, code, 2);
    const ended = once(server.child, "exit");
    expect(await stop(test)).toMatchObject({ parameters: { killed: true } });
    expect(await ended).toEqual([null, "SIGKILL"]);
    expect(await server.ended()).toContain("asked");
  });

  it("keeps 64 callers of a tenant that wait or have gone, refuses more, and does what root asks", async () => {
    await using test = await startBroker({ "game.toml": `${plain()}[tenant]\nusers = [${NOBODY}]\n` });
    const code = `${told}import sys
signal.signal(signal.SIGTERM, lambda *_: (sys.stdin.readline(), sys.exit(0)))
print("set")
while True: signal.pause()`;
    const { server } = await python(test, code, 2, NOBODY);
    for (let count = 0; count < 64; count++) {
      using peer = await RawPeer.connect(test.socket, NOBODY);
      await peer.send(frame("Stop", { berth: "game" }));
      // The broker takes the calls of a user in turn: after this answer it has read the one before.
      using other = await RawPeer.connect(test.socket, NOBODY);
      await other.call("List");
    }
    await expect
      .poll(() => stop(test, "game", NOBODY))
      .toMatchObject({ error: `${BROKER}.LimitReached`, parameters: { limit: "stops" } });
    using root = await RawPeer.connect(test.socket);
    await root.send(frame("Stop", { berth: "game" }));
    using after = await RawPeer.connect(test.socket);
    await after.call("List");
    server.child.stdin?.write("\n");
    expect(await root.receive()).toMatchObject({ parameters: { lease: { pid: server.pid }, killed: false } });
    await server.ended();
    // Whether a stranger to it may ask is another matter: what counts is that the calls count no more.
    expect(await stop(test, "game", NOBODY)).not.toMatchObject({ parameters: { limit: "stops" } });
  });

  it("waits for one that takes its time, also for a second caller, and goes on when the first is gone", async () => {
    await using test = await startBroker({ "game.toml": plain(user) });
    const code = `${told}import sys
def end(*_):
    print("asked")
    sys.stdin.readline()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("set")
while True: signal.pause()`;
    const { server } = await python(test, code, 2);
    const first = await RawPeer.connect(test.socket);
    await first.send(frame("Stop", { berth: "game" }));
    await server.said(3);
    first.close();
    const second = stop(test);
    await expect.poll(() => test.log.filter(({ event }) => event === "stopping")).toHaveLength(1);
    expect(test.broker.berths[0]?.state).toBe("occupied");
    server.child.stdin?.write("\n");
    expect(await second).toMatchObject({ parameters: { killed: false } });
    await server.ended();
    expect(server.child.exitCode).toBe(0);
    expect((await server.ended()).filter((line) => line === "asked")).toHaveLength(1);
  });

  it("is for root and the user who has the lease: others are told no more than they may know", async () => {
    const tenants = `[tenant]\nusers = ["nobody"]\n`;
    await using test = await startBroker({ "game.toml": `${plain()}\n${tenants}`, "other.toml": plain(user) });
    const { server } = await python(test, `${told}signal.pause()`, 1, NOBODY);
    const stranger = await stop(test, "game", 4242);
    expect(stranger).toMatchObject({ error: DENIED });
    expect(await stop(test, "nope", 4242)).toEqual(JSON.parse(JSON.stringify(stranger).replace("game", "nope")));
    expect(await stop(test, "other", NOBODY)).toMatchObject({ error: DENIED });
    expect(isGone(server.pid)).toBe(false);
    expect(await stop(test, "game", NOBODY)).toMatchObject({ parameters: { lease: { uid: NOBODY } } });
    expect(await stop(test, "game", NOBODY)).toEqual({ parameters: { killed: false, again: false } });
    await server.ended();
  });

  /** A server of nobody's whose process group has a process of root's, too. */
  async function mixed(test: TestBroker): Promise<{ server: Server; root: number; pid: number }> {
    const launcher = join(packageRoot, "build/Release/berth-launch");
    const run = ["--socket", test.socket, "game", "--", "python3", "-u", "-c", `${told}signal.pause()`];
    const code = `import os, signal, sys
os.setsid()
if os.fork() == 0:
    signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"alive\\n"))
    print(os.getpid(), flush=True)
    while True: signal.pause()
os.setgroups([])
os.setgid(${NOBODY})
os.setuid(${NOBODY})
os.execv(sys.argv[1], sys.argv[1:])`;
    const server = new Server("python3", ["-c", code, launcher, ...run]);
    const said = (await server.said(2)).map(Number);
    const pid = test.broker.berths[0]?.lease?.pid ?? -1;
    return { server, pid, root: said.find((one) => one !== pid) ?? -1 };
  }

  it("ends no process that its caller could not end, and all of the group for root", async () => {
    const tenants = `[tenant]\nusers = ["nobody"]\n`;
    for (const uid of [NOBODY, 0]) {
      await using test = await startBroker({ "game.toml": `${plain()}\n${tenants}` });
      const { server, root, pid } = await mixed(test);
      try {
        expect(await stop(test, "game", uid)).toMatchObject({ parameters: { lease: { pid, uid: NOBODY } } });
        // It is this process's child, which libuv has still to collect.
        await expect.poll(() => isGone(pid)).toBe(true);
        if (uid !== 0) {
          process.kill(root, "SIGUSR1");
          expect(await server.said(3)).toContain("alive");
        } else await expect.poll(() => isGone(root)).toBe(true);
      } finally {
        if (!isGone(root)) process.kill(root, "SIGKILL");
        await expect.poll(() => isGone(root)).toBe(true);
      }
    }
  });

  it("is refused while the broker is out of descriptors, and done when it has some again", async () => {
    let isShort = true;
    const dup = (fd: number): number => (isShort ? -constants.errno.EMFILE : native.dup(fd));
    await using test = await startBroker({ "game.toml": plain(user) }, { sys: { ...native, dup } });
    const { server } = await python(test, `${told}signal.pause()`);
    expect(await stop(test)).toMatchObject({ error: `${BROKER}.LimitReached`, parameters: { limit: "descriptors" } });
    expect(isGone(server.pid)).toBe(false);
    isShort = false;
    expect(await stop(test)).toMatchObject({ parameters: { lease: { pid: server.pid } } });
    await server.ended();
  });

  it("is not for another user who may take the berth", async () => {
    await using test = await startBroker({ "game.toml": `${plain(user)}\n[tenant]\nusers = ["nobody"]\n` });
    const { server } = await python(test, `${told}signal.pause()`);
    expect(await stop(test, "game", NOBODY)).toMatchObject({
      error: DENIED,
      parameters: { message: expect.stringContaining(`taken by pid ${server.pid} (uid 0)`) },
    });
    expect(isGone(server.pid)).toBe(false);
    await server.kill();
  });

  it("of one that starts on demand says that the next packet starts it again, and counts no failure", async () => {
    const port = await freePort();
    const listen = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\n${user}start = "on-demand"\n`;
    const echo = "import socket\ngame = socket.socket(fileno=3)\nwhile True: game.sendto(*game.recvfrom(99))";
    await using test = await startBroker({ "game.toml": `${listen}command = ["python3", "-c", """${echo}"""]\n` });
    const player = createSocket("udp4");
    try {
      for (let round = 0; round < 2; round++) {
        player.send("hello", port, "127.0.0.1");
        expect(String((await once(player, "message"))[0])).toBe("hello");
        expect(await stop(test)).toMatchObject({ parameters: { killed: false, again: true } });
        expect(test.broker.berths[0]).toMatchObject({ state: "vacant", start: { state: "waiting", failures: 0 } });
      }
    } finally {
      player.close();
    }
    expect(test.log.filter(({ event }) => event === "start-failed")).toEqual([]);
  });

  it("of one that starts on demand, and an Acquire in the same go, get the berth while packets wait", async () => {
    const port = await freePort();
    const listen = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\n${user}start = "on-demand"\n`;
    await using test = await startBroker({ "game.toml": `${listen}command = ["sleep", "1000"]\n` });
    const player = createSocket("udp4");
    const hasServer = (): unknown => test.broker.berths[0]?.lease && test.broker.berths[0].lease.pid !== process.pid;
    try {
      player.send("nobody reads it", port, "127.0.0.1");
      for (let round = 0; round < 5; round++) {
        await expect.poll(hasServer, { timeout: 30_000 }).toBe(true);
        using peer = await RawPeer.connect(test.socket);
        await peer.send(frame("Stop", { berth: "game" }) + frame("Acquire", { berth: "game" }));
        expect(await peer.receive()).toMatchObject({ parameters: { again: true } });
        const { parameters } = (await peer.receive()) ?? {};
        expect(parameters).toMatchObject({ lease: expect.any(String) });
        for (const fd of peer.fds) fd.close();
        // Not after the last round: the packet would start another server.
        if (round < 4) await peer.call("Release", { lease: parameters?.["lease"] });
      }
    } finally {
      player.close();
    }
  });
});
