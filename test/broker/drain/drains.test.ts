/** Drains of real servers: who may ask, when a server is stopped, what it is told, and what outlives the broker. */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import type { BrokerOptions } from "../../../src/broker/broker-options.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { NOBODY, Server } from "../../bind/harness.ts";
import { isReady, launchBroker, spawnBroker, startBroker, type TestBroker, TestFolder } from "../../support/broker.ts";
import { call } from "../../support/drain-calls.ts";
import { leaksNothing } from "../../support/fds.ts";
import { isRoot, needs } from "../../support/needs.ts";
import { askServer, notifyServer } from "../../support/notify-server.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";
import { Watcher } from "../../support/watcher.ts";

vi.setConfig({ testTimeout: 60_000 });
leaksNothing("soon");

const DENIED = "org.varlink.service.PermissionDenied";
const user = isRoot ? `user = ${NOBODY}\n` : "";
const programs = new TestFolder({ "server.py": notifyServer });
afterAll(() => programs[Symbol.dispose]());
/** Prints each line that is typed, and each SIGUSR1. */
const listener = `import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"signal\\n"))
print("up", flush=True)
while True:
    line = sys.stdin.readline()
    if line == "": signal.pause()
    else: print("typed " + line.strip(), flush=True)`;

/** Does not end when it is asked to. */
const stubborn = `import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"asked\\n"))
print("up", flush=True)
while True: signal.pause()`;

const udp = (port: number, server = ""): string =>
  `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\n${user}${server}`;

/** A launched server, once it has said so many lines. */
async function launch(socket: string, command: readonly string[], lines = 0, uid?: number): Promise<Server> {
  const options = uid === undefined ? {} : { uid, gid: uid };
  const server = new Server(launcherPath(), ["--socket", socket, "game", "--", ...command], options);
  await server.said(lines);
  return server;
}

interface Scene extends AsyncDisposable {
  readonly broker: TestBroker;
  readonly watcher: Watcher;
  readonly server: Server;
  /** Runs Python in the server. */
  do(code: string): Promise<string>;
}

/** A broker with a server that does what it is told. */
async function scene(more = "", options: Partial<BrokerOptions> = {}): Promise<Scene> {
  const port = await freePort();
  const broker = await startBroker({ "game.toml": udp(port, more) }, options);
  const watcher = await Watcher.connect(broker.socket, 1);
  const server = await launch(broker.socket, ["/usr/bin/python3", "-S", join(programs.path, "server.py")]);
  await watcher.until(({ event }) => event === "acquired");
  const dispose = async (): Promise<void> => {
    await watcher[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
    await server.kill();
  };
  return { broker, watcher, server, do: (code) => askServer(port, code), [Symbol.asyncDispose]: dispose };
}

const drained = (told: Scene): unknown => told.broker.broker.berths[0]?.drain;

describe("a drain", () => {
  it("of a berth that nobody has is none, and of one that does not exist is refused", async () => {
    await using test = await startBroker({ "game.toml": udp(await freePort()) });
    expect(await call(test.socket, "Drain")).toEqual({ parameters: {} });
    expect(await call(test.socket, "CancelDrain")).toEqual({ parameters: {} });
    expect(await call(test.socket, "Drain", { berth: "x" })).toMatchObject({ error: "io.berthd.Broker.NoSuchBerth" });
  });

  it.each([[0], [-1], [604_801]])("within %d s is refused", async (within) => {
    await using test = await startBroker({ "game.toml": udp(await freePort()) });
    expect(await call(test.socket, "Drain", { within })).toEqual({
      error: "org.varlink.service.InvalidParameter",
      parameters: { parameter: "within", message: "within must be a number of seconds from 1 to 604800" },
    });
  });

  it("is in List and Watch with its deadline, and is changed and cancelled", async () => {
    await using test = await scene();
    const { socket } = test.broker;
    const before = Date.now() * 1000;
    const begun = await call(socket, "Drain", { within: 600 });
    expect(begun).toMatchObject({ parameters: { lease: { pid: test.server.pid } } });
    const drain = begun?.parameters["drain"] as Required<Drained>;
    expect(drain.began).toBeGreaterThanOrEqual(before);
    expect(Math.abs(drain.deadline - drain.began - 600e6)).toBeLessThan(5e6);
    const told = await test.watcher.until(({ event }) => event === "changed");
    expect(told.berth).toMatchObject({ state: "occupied", drain });
    expect(drained(test)).toEqual(drain);
    const changed = await call(socket, "Drain");
    expect(changed?.parameters["drain"]).toEqual({ began: drain.began });
    expect(drained(test)).toEqual({ began: drain.began });
    expect(await call(socket, "CancelDrain")).toEqual({ parameters: { drain: { began: drain.began } } });
    expect(drained(test)).toBeUndefined();
    expect(await call(socket, "CancelDrain")).toEqual({ parameters: {} });
    const [, , last] = await test.watcher.count("changed", 3);
    expect(last?.berth.drain).toBeUndefined();
    expect(last?.berth.state).toBe("occupied");
  });

  it("waits while the server says that somebody plays, and stops it once nobody does", async () => {
    await using test = await scene("", { drains: { quiet: 1, look: 10 } });
    await test.do('notify("X_BERTHD_PLAYERS=2/16")');
    await test.watcher.until(({ berth }) => berth.players?.count === 2);
    expect(test.broker.broker.berths[0]?.players).toMatchObject({ count: 2, max: 16 });
    await call(test.broker.socket, "Drain");
    await test.do('notify("X_BERTHD_PLAYERS=1")');
    await test.watcher.until(({ berth }) => berth.players?.count === 1);
    expect(test.watcher.names()).not.toContain("stopping");
    await test.do('notify("X_BERTHD_PLAYERS=0")');
    const { berth } = await test.watcher.until(({ event }) => event === "released");
    expect(berth).toMatchObject({ state: "vacant" });
    expect(berth.drain).toBeUndefined();
    await test.server.ended();
    const why = test.broker.log.find(({ event }) => event === "stopping");
    expect(why?.message).toContain("it is drained, and nobody plays; stopping pid");
  });

  it("stops at once when an observer reports that nobody plays, and not by an older report", async () => {
    await using test = await scene();
    await call(test.broker.socket, "Report", { players: 0, max: 8 });
    await call(test.broker.socket, "Drain");
    await test.do("1");
    expect(drained(test)).toBeDefined();
    await expect
      .poll(async () => (await call(test.broker.socket, "Report", { players: 0, max: 9 }))?.error)
      .toBeUndefined();
    await test.watcher.until(({ event }) => event === "released");
    await test.server.ended();
  });

  it("stops after a time without traffic where nothing says who plays", async () => {
    await using test = await scene("", { drains: { quiet: 1500, look: 10 } });
    await call(test.broker.socket, "Drain");
    // Each packet is traffic: it goes on.
    for (let n = 0; n < 30; n++) await test.do("1");
    await test.watcher.until(({ event }) => event === "released");
    await test.server.ended();
  });

  it("stops at the deadline, although somebody plays", async () => {
    await using test = await scene();
    await test.do('notify("X_BERTHD_PLAYERS=2")');
    await call(test.broker.socket, "Drain", { within: 1 });
    await test.watcher.until(({ event }) => event === "released");
    expect(test.broker.log.find(({ event }) => event === "stopping")?.message).toContain("the deadline of its drain");
    await test.server.ended();
  });

  it("cannot be cancelled any more once its server is being stopped", async () => {
    await using test = await startBroker({ "game.toml": udp(await freePort(), 'stop-timeout = "60s"\n') });
    await using watcher = await Watcher.connect(test.socket, 1);
    await using server = await launch(test.socket, ["/usr/bin/python3", "-S", "-c", stubborn], 1);
    await call(test.socket, "Drain", { within: 1 });
    expect((await server.said(2))[1]).toBe("asked");
    expect(await call(test.socket, "CancelDrain")).toEqual({
      error: "io.berthd.Broker.ServerStopping",
      parameters: {
        berth: "game",
        lease: expect.objectContaining({ pid: server.pid }),
        message: `the server of berth game, pid ${server.pid}, is being stopped already; to start it again then: berth start game`,
      },
    });
    expect(test.broker.berths[0]?.drain).toBeDefined();
    await server.kill();
    await watcher.until(({ event }) => event === "released");
  });

  it("is over when its server ends by itself, and the next tenant is not drained", async () => {
    await using test = await scene();
    await call(test.broker.socket, "Drain", { within: 600 });
    await test.server.kill();
    await test.watcher.until(({ event }) => event === "released");
    await using next = await launch(test.broker.socket, ["sleep", "1000"]);
    await test.watcher.count("acquired", 2);
    expect(drained(test)).toBeUndefined();
    expect(test.broker.broker.berths[0]?.lease?.pid).toBe(next.pid);
  });

  it("is over when another tenant takes the berth over", async () => {
    await using test = await scene();
    await call(test.broker.socket, "Drain", { within: 2 });
    using newcomer = await RawPeer.connect(test.broker.socket);
    const taken = await newcomer.call("Acquire", { berth: "game", replace: "must" });
    await newcomer.call("Ready", { lease: taken?.parameters["lease"] });
    await test.watcher.until(({ event, berth }) => event === "ready" && berth.lease?.pid === process.pid);
    expect(drained(test)).toBeUndefined();
  });

  it("tells a server once, by a signal", async () => {
    await using test = await startBroker({ "game.toml": udp(await freePort(), 'drain-signal = "SIGUSR1"') });
    await using server = await launch(test.socket, ["/usr/bin/python3", "-S", "-c", listener], 1);
    await call(test.socket, "Drain", { within: 600 });
    expect((await server.said(2))[1]).toBe("signal");
    await call(test.socket, "Drain", { within: 500 });
    await call(test.socket, "CancelDrain");
    await call(test.socket, "Drain", { within: 1 });
    await server.ended();
    expect(server.lines).toEqual(["up", "signal", "signal"]);
  });
});

/** A server of another user. */
async function tenanted(): Promise<{ test: TestBroker; server: Server }> {
  const tenant = `[tenant]\nusers = [${NOBODY}]\n`;
  const test = await startBroker({ "game.toml": udp(await freePort()).replace("[server]", `${tenant}[server]`) });
  const server = await launch(test.socket, ["sleep", "1000"], 0, NOBODY);
  await expect.poll(() => test.broker.berths[0]?.lease?.pid).toBe(server.pid);
  return { test, server };
}

describe("a drain that a user asks for", needs("root"), () => {
  it("is for who has the lease, and for no other user", async () => {
    const tenant = `[tenant]\nusers = [${NOBODY}, 1234]\n`;
    await using test = await startBroker({
      "game.toml": udp(await freePort()).replace("[server]", `${tenant}[server]`),
    });
    await using server = await launch(test.socket, ["sleep", "1000"], 0, NOBODY);
    await expect.poll(() => test.broker.berths[0]?.lease?.pid).toBe(server.pid);
    const refused = { error: DENIED, parameters: { message: expect.stringContaining(`taken by pid ${server.pid}`) } };
    expect(await call(test.socket, "Drain", {}, 1234)).toEqual(refused);
    expect(await call(test.socket, "CancelDrain", {}, 1234)).toEqual(refused);
    expect(await call(test.socket, "Drain", {}, 4321)).toMatchObject({
      error: DENIED,
      parameters: { message: expect.stringContaining("or there is none of that name") },
    });
    await call(test.socket, "Drain", { within: 1 }, NOBODY);
    await server.ended();
    expect(server.child.signalCode).toBe("SIGTERM");
  });

  it("cannot put off or cancel what root has asked for, and may bring it forward", async () => {
    const { test, server } = await tenanted();
    await using _test = test;
    await using _server = server;
    const began = (await call(test.socket, "Drain", { within: 600 }))?.parameters["drain"] as Drained;
    const message = expect.stringContaining("uid 0 asked to drain berth game: only root");
    const refused = { error: DENIED, parameters: { message } };
    for (const within of [{ within: 604_800 }, { within: 601 }, {}])
      expect(await call(test.socket, "Drain", within, NOBODY)).toEqual(refused);
    expect(await call(test.socket, "CancelDrain", {}, NOBODY)).toEqual(refused);
    expect(test.broker.berths[0]?.drain).toEqual(began);
    const earlier = (await call(test.socket, "Drain", { within: 300 }, NOBODY))?.parameters["drain"] as Drained;
    expect(earlier.began).toBe(began.began);
    expect(earlier.deadline).toBeLessThan(began.deadline ?? 0);
    // It is root's all the same.
    expect(await call(test.socket, "CancelDrain", {}, NOBODY)).toEqual(refused);
    expect(await call(test.socket, "Drain", { within: 400 }, NOBODY)).toEqual(refused);
    expect((await call(test.socket, "Drain"))?.parameters["drain"]).toEqual({ began: began.began });
    expect((await call(test.socket, "CancelDrain"))?.parameters["drain"]).toBeDefined();
    // Its own is the user's, until root asks too.
    await call(test.socket, "Drain", { within: 600 }, NOBODY);
    expect((await call(test.socket, "CancelDrain", {}, NOBODY))?.parameters["drain"]).toBeDefined();
    await call(test.socket, "Drain", { within: 600 }, NOBODY);
    await call(test.socket, "Drain", { within: 600 });
    expect(await call(test.socket, "CancelDrain", {}, NOBODY)).toEqual(refused);
  });

  it("is changed in a loop: the log and those who watch get few lines, and root is not held up", async () => {
    const { test, server } = await tenanted();
    await using _test = test;
    await using _server = server;
    await using watcher = await Watcher.connect(test.socket, 1);
    using peer = await RawPeer.connect(test.socket, NOBODY);
    const answers: unknown[] = [];
    for (let n = 0; n < 200; n++) {
      const method = n % 2 === 0 ? "Drain" : "CancelDrain";
      answers.push((await peer.call(method, { berth: "game", within: 600 + n }))?.error);
    }
    expect(answers.filter((error) => error === "io.berthd.Broker.LimitReached").length).toBeGreaterThan(0);
    await call(test.socket, "Drain", { within: 777 });
    await watcher.until(({ berth }) => (berth.drain?.deadline ?? 0) - (berth.drain?.began ?? 0) > 770e6);
    expect(test.log.filter(({ event }) => event === "drain").length).toBeLessThan(100);
    expect(watcher.events.filter(({ event }) => event === "changed").length).toBeLessThan(100);
  });

  it("types drain-command on the server's console", async () => {
    const more = 'console = true\ndrain-command = "say Restart soon"\n';
    await using test = await startBroker({ "game.toml": udp(await freePort(), more) });
    await using server = await launch(test.socket, ["/usr/bin/python3", "-S", "-c", listener], 1);
    await call(test.socket, "Drain", { within: 600 });
    await server.until(({ lines }) => lines.some((line) => line.trim() === "typed say Restart soon"));
  });
});

describe("a drain outlives the broker", () => {
  it.each(["SIGKILL", "SIGTERM"] as const)(
    "that ends by %s: the next one goes on to the same deadline",
    async (how) => {
      const files = { "game.toml": udp(await freePort()) };
      await using broker = await spawnBroker(files);
      await using server = await launch(broker.socket, ["sleep", "1000"]);
      await expect.poll(async () => await leaseOf(broker.socket)).toBeDefined();
      const begun = await call(broker.socket, "Drain", { within: 6 });
      broker.child.kill(how);
      await broker.exited;
      await using next = launchBroker(broker.folder);
      await next.logged(isReady);
      const found = await drainOf(next.socket);
      const drain = begun?.parameters["drain"] as Required<Drained>;
      expect(found?.began).toBe(drain.began);
      expect(Math.abs((found?.deadline ?? 0) - drain.deadline)).toBeLessThan(600_000);
      await server.ended();
      expect(server.child.signalCode).toBe("SIGTERM");
      expect((await next.logged(({ event }) => event === "stopping")).message).toContain("deadline of its drain");
    },
  );

  it("that is replaced, and can be cancelled there", async () => {
    const files = { "game.toml": udp(await freePort()) };
    await using broker = await spawnBroker(files);
    await using server = await launch(broker.socket, ["sleep", "1000"]);
    await expect.poll(async () => await leaseOf(broker.socket)).toBeDefined();
    await call(broker.socket, "Drain", { within: 600 });
    const before = await drainOf(broker.socket);
    await using next = launchBroker(broker.folder, ["--replace", "must"]);
    await next.logged(isReady);
    await broker.exited;
    expect(await drainOf(next.socket)).toMatchObject({ began: before?.began });
    expect((await call(next.socket, "CancelDrain"))?.parameters["drain"]).toMatchObject({ began: before?.began });
    expect(await drainOf(next.socket)).toBeUndefined();
    expect(server.child.exitCode).toBeNull();
  });

  it("cancelled, it is not back after the broker was killed", async () => {
    await using broker = await spawnBroker({ "game.toml": udp(await freePort()) });
    await using server = await launch(broker.socket, ["sleep", "1000"]);
    await expect.poll(async () => await leaseOf(broker.socket)).toBeDefined();
    await call(broker.socket, "Drain", { within: 600 });
    await call(broker.socket, "CancelDrain");
    broker.child.kill("SIGKILL");
    await broker.exited;
    await using next = launchBroker(broker.folder);
    await next.logged(isReady);
    expect(await leaseOf(next.socket)).toMatchObject({ pid: server.pid });
    expect(await drainOf(next.socket)).toBeUndefined();
  });
});

interface Drained {
  readonly began: number;
  readonly deadline?: number;
}

interface Listed {
  readonly lease?: { readonly pid: number };
  readonly drain?: Drained;
}

async function listed(socket: string): Promise<Listed | undefined> {
  using peer = await RawPeer.connect(socket);
  const [first] = ((await peer.call("List"))?.parameters["berths"] ?? []) as Listed[];
  return first;
}

const leaseOf = async (socket: string): Promise<Listed["lease"]> => (await listed(socket))?.lease;
const drainOf = async (socket: string): Promise<Listed["drain"]> => (await listed(socket))?.drain;

it("counts an open connection as somebody who plays", async () => {
  const port = await freePort();
  const file = `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\n${user}`;
  await using test = await startBroker({ "game.toml": file }, { drains: { quiet: 300, look: 10 } });
  await using server = await launch(test.socket, ["sleep", "1000"]);
  await expect.poll(() => test.broker.berths[0]?.lease?.pid).toBe(server.pid);
  const player = connect(port, "127.0.0.1");
  await once(player, "connect");
  await call(test.socket, "Drain");
  // Longer than the time without traffic, and than the list of connections is believed.
  await expect.poll(async () => await stillDrains(test, 2000), { timeout: 30_000 }).toBe(true);
  player.destroy();
  await server.ended();
});

it("looks at no socket of a broker that has ended while the kernel told who is connected", async () => {
  const file = `[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n[sockets.query]\nlisten = ["udp://127.0.0.1:0"]\n`;
  for (let turns = 0; turns < 30; turns++) {
    await using test = await startBroker({ "game.toml": file }, { drains: { quiet: 300, look: 10 } });
    using peer = await RawPeer.connect(test.socket);
    await peer.call("Acquire", { berth: "game" });
    await peer.call("Drain", { berth: "game" });
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    await test.broker.close();
  }
});

/** Whether it drains on for so long. */
async function stillDrains(test: TestBroker, milliseconds: number): Promise<boolean> {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    if (test.broker.berths[0]?.drain === undefined) return false;
    await call(test.socket, "CancelDrain", { berth: "nope" });
  }
  return true;
}
