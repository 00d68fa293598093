/**
 * `server.drain = "refuse"` of games by UDP. Players who join while a berth drains are told so, other players go on,
 * and the server hears of no join. Where players cannot be told, joins wait.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { drainOf } from "../../../src/berth-state.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { native } from "../../../src/native.ts";
import { NOBODY, Server } from "../../bind/harness.ts";
import { needsGroups } from "../../support/bpf.ts";
import { isReady, launchBroker, spawnBroker, startBroker, TestFolder } from "../../support/broker.ts";
import { tell } from "../../support/counts.ts";
import { PATIENCE, ready } from "../../support/doorman/doors.ts";
import { lastJoins } from "../../support/doorman/last-joins.ts";
import { call, drain, drainsLeaveNothing } from "../../support/drain-calls.ts";
import { leaksNothing } from "../../support/fds.ts";
import { LineClient, mustWait } from "../../support/line-server.ts";
import { notifyServer } from "../../support/notify-server.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";

vi.setConfig({ testTimeout: 90_000 });
leaksNothing("soon");

const programs = new TestFolder({ "udp.py": notifyServer });
afterAll(() => programs[Symbol.dispose]());

const AGAIN_MS = 200;
const TEXT = "This server restarts once nobody plays";
const QUESTION = Buffer.from("\xff\xff\xff\xffgetchallenge 1", "latin1");
/** Python for the server: its socket gets a filter of its own (SO_ATTACH_FILTER), which lets everything in. */
const ATTACH_FILTER =
  "import struct,ctypes; b=ctypes.create_string_buffer(struct.pack('HBBI',6,0,0,0xfffffff0),8); " +
  "game.setsockopt(1,26,struct.pack('HxxxxxxP',1,ctypes.addressof(b)))";
/** SO_LOCK_FILTER: nobody can remove it then. */
const LOCK_FILTER = "game.setsockopt(1,44,1)";
const quake = lastJoins["Quake III"] ?? expect.unreachable();

const file = (listen: string, type: string, more = ""): string =>
  `[sockets.game]\nlisten = [${listen}]\n[server]\nuser = ${NOBODY}\ndrain = "refuse"\nquery = { type = "${type}" }\n${more}`;
const at = (port: number, type = "quake3", more = ""): string => file(`"udp://127.0.0.1:${port}"`, type, more);

/** Once it answers on this port. */
async function launch(socket: string, port: number): Promise<Server> {
  const words = ["--socket", socket, "game", "--", "/usr/bin/python3", "-S", join(programs.path, "udp.py")];
  const server = new Server(launcherPath(), words);
  using player = new Player(port);
  await player.play("1");
  return server;
}

/** Somebody who sends datagrams to a port, and what came back so far. */
class Player implements Disposable {
  readonly #socket;
  readonly #port: number;
  readonly #host: string;
  readonly answers: Buffer[] = [];

  constructor(port: number, host = "127.0.0.1") {
    this.#port = port;
    this.#host = host;
    this.#socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    this.#socket.on("message", (data) => this.answers.push(data));
  }

  send(bytes: Uint8Array): void {
    this.#socket.send(bytes, this.#port, this.#host);
  }

  /** The next answer; the datagram is sent again until it comes, as clients do. */
  async hear(bytes: Uint8Array): Promise<Buffer> {
    const before = this.answers.length;
    const again = setInterval(() => this.send(bytes), AGAIN_MS);
    this.send(bytes);
    try {
      const signal = AbortSignal.timeout(60_000);
      while (this.answers.length === before) await once(this.#socket, "message", { signal });
    } finally {
      clearInterval(again);
    }
    return this.answers[before] ?? Buffer.of();
  }

  /** Runs Python in the server: it hears of this. Sent once: on loopback nothing is lost. */
  async play(code: string | Buffer): Promise<string> {
    const before = this.answers.length;
    this.send(Buffer.from(code));
    const signal = AbortSignal.timeout(60_000);
    while (this.answers.length === before) await once(this.#socket, "message", { signal });
    return String(this.answers[before]);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** What a newcomer reads. */
async function told(port: number, by = quake, host?: string): Promise<string> {
  using player = new Player(port, host);
  return by.told(await player.hear(by.bytes));
}

/** A join comes to the server, which takes it for Python. */
async function comesIn(port: number, by = quake): Promise<void> {
  using player = new Player(port);
  expect(String(await player.hear(by.bytes))).toContain("Error");
}

/** A join does not come to the server, which answers a player who asks later. */
async function waits(port: number, bytes = quake.bytes): Promise<void> {
  using newcomer = new Player(port);
  using player = new Player(port);
  newcomer.send(bytes);
  for (let times = 0; times < 5; times++) expect(await player.play(`result = ${times}`)).toBe(`${times}`);
  // A doorman that comes meanwhile may tell it.
  expect(newcomer.answers.map(String).filter((answer) => answer.includes("Error"))).toEqual([]);
}

/** How many bytes nobody has read on this UDP port (proc_net(5)). */
function unreadAt(port: number): number {
  const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync("/proc/net/udp", "utf8").split("\n");
  const [queues = ""] = rows
    .map((row) => row.trim().split(/\s+/))
    .flatMap(([, at, , , row]) => (at === address ? [row] : []));
  return Number.parseInt(queues.split(":")[1] ?? "0", 16);
}

const games = Object.entries(lastJoins).map(([name, by]) => [name, by.of, by] as const);

describe("who joins by UDP while a berth drains", needsGroups(), () => {
  it.each(games)(
    "%s is told when the server restarts, which never hears of it; a player goes on",
    async (_, type, by) => {
      const port = await freePort();
      await using test = await startBroker({ "game.toml": at(port, type) });
      await using _server = await launch(test.socket, port);
      using player = new Player(port);
      expect(await player.play("count = 0")).toBe("None");
      expect(await drain(test.socket)).toMatchObject({ joins: "refuse" });
      for (let times = 0; times < 3; times++) {
        const all = await Promise.all(Array.from({ length: 8 }, () => told(port, by)));
        expect(new Set(all)).toEqual(new Set([TEXT]));
        for (let line = 1; line <= 5; line++)
          expect(await player.play("count += 1; result = count")).toBe(`${5 * times + line}`);
      }
      using peer = await RawPeer.connect(test.socket);
      const [listed] = ((await peer.call("List"))?.parameters["berths"] ?? []) as [{ drain: { began: number } }];
      expect(drainOf(listed, 0)).toBe("its server stops once nobody plays; new players are turned away");
      expect(listed.drain).not.toHaveProperty("note");
      await call(test.socket, "CancelDrain");
      await comesIn(port, by);
    },
  );

  it("gets an answer to what comes before the join, from the server", async ({ task }) => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using _ = await launch(test.socket, port);
    await drain(test.socket);
    using asking = new Player(port);
    for (let times = 0; times < 20; times++) expect(await asking.play(QUESTION)).toContain("Error");
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        using newcomer = new Player(port);
        return await newcomer.hear(quake.bytes);
      }),
    );
    for (const answer of answers) expect(answer.length).toBeLessThanOrEqual(quake.bytes.length);
    tell(task, { "questions answered by the server": asking.answers.length, "joins turned away": answers.length });
  });

  it("reads the berth's own text, with the time that is left, and a new deadline soon", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port, "quake3", 'drain-text = "Back soon: {when}"\n') });
    await using _ = await launch(test.socket, port);
    await drain(test.socket, 600);
    expect(await told(port)).toBe("Back soon: in 10 minutes");
    await drain(test.socket, 7200);
    // The doorman may have read a join before it is told of the new deadline.
    await expect.poll(async () => await told(port), PATIENCE).toBe("Back soon: in 2 hours");
  });

  it("is told so by IPv4 and IPv6, at each socket of the berth, and at no other of the port", async () => {
    const [port, open] = [await freePort(), await freePort()];
    const other = `[sockets.game]\nlisten = ["udp://127.0.0.9:${port}"]\n[server]\nuser = ${NOBODY}\n`;
    const both = `"udp://127.0.0.1:${port}", "udp://[::1]:${port}", "udp://*:${open}"`;
    await using test = await startBroker({ "game.toml": file(both, "quake3"), "other.toml": other });
    await using _ = await launch(test.socket, port);
    await drain(test.socket);
    for (const host of ["127.0.0.1", "::1"]) expect(await told(port, quake, host)).toBe(TEXT);
    for (const host of ["127.0.0.1", "127.0.0.44", "::1"]) expect(await told(open, quake, host)).toBe(TEXT);
    using neighbour = new Player(port, "127.0.0.9");
    neighbour.send(quake.bytes);
    expect(await told(port)).toBe(TEXT);
    expect(neighbour.answers).toEqual([]);
  });

  it("is not answered too often: a network gets fifty answers a second at each socket", async ({ task }) => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using _ = await launch(test.socket, port);
    await drain(test.socket);
    using greedy = new Player(port);
    using player = new Player(port);
    await greedy.hear(quake.bytes);
    const began = performance.now();
    for (let times = 0; times < 50; times++) {
      for (let one = 0; one < 20; one++) greedy.send(quake.bytes);
      await player.play("1");
    }
    await greedy.hear(quake.bytes);
    const seconds = Math.floor((performance.now() - began) / 1000) + 2;
    const { length } = greedy.answers;
    tell(task, { joins: 1002, answers: length, seconds });
    expect(length).toBeLessThanOrEqual(50 * seconds);
  });

  it("comes in to the next server after a kill, and to one that takes the berth over", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using old = await launch(test.socket, port);
    await drain(test.socket);
    expect(await told(port)).toBe(TEXT);
    await old.kill();
    await expect.poll(() => test.broker.berths[0]?.lease, PATIENCE).toBeUndefined();
    await using next = await launch(test.socket, port);
    await comesIn(port);
    await drain(test.socket);
    expect(await told(port)).toBe(TEXT);
    using newcomer = await RawPeer.connect(test.socket);
    const taken = await newcomer.call("Acquire", { replace: "must", berth: "game" });
    await newcomer.call("Ready", { lease: taken?.parameters["lease"] });
    // What comes now waits for the newcomer, who reads nothing.
    await next.kill();
    using late = new Player(port);
    const unread = (): number => {
      late.send(quake.bytes);
      return unreadAt(port);
    };
    await expect.poll(unread, PATIENCE).toBeGreaterThan(0);
  });

  it("waits while there is no doorman, and is told by the next one", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using _ = await launch(test.socket, port);
    await drain(test.socket);
    expect(await told(port)).toBe(TEXT);
    // Each end is reported, and the next start comes later: the second one after two seconds.
    for (let times = 1; times <= 2; times++) {
      process.kill(await ready(), "SIGKILL");
      await expect.poll(() => test.log.filter(({ event }) => event === "doorman").length, PATIENCE).toBe(times);
    }
    await waits(port);
    await ready();
    expect(await told(port)).toBe(TEXT);
  });

  it("waits where the kernel does not let the broker look at datagrams, and the note says so", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) }, { sys: { ...native, bpfMap: () => -1 } });
    await using _ = await launch(test.socket, port);
    const why = "the kernel does not let the broker look at datagrams (bpf: EPERM)";
    const note = expect.stringContaining(`nobody is turned away at socket game: ${why}; `);
    expect(await drain(test.socket)).toMatchObject({ joins: "queue", note });
    await waits(port);
    await waits(port, QUESTION);
    await call(test.socket, "CancelDrain");
    await comesIn(port);
  });

  it("is told so beside a filter of the server's own, locked or not, which stays", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using _ = await launch(test.socket, port);
    using player = new Player(port);
    const read =
      "import ctypes; a=ctypes.create_string_buffer(32768); n=ctypes.c_uint(4096); " +
      "ctypes.CDLL(None).getsockopt(3,1,26,a,ctypes.byref(n)); result=(n.value, a.raw[8*n.value-8:8*n.value].hex())";
    await player.play(ATTACH_FILTER);
    const before = await player.play(read);
    expect(before).toMatch(/^\(1, /);
    for (const more of ["", LOCK_FILTER]) {
      await player.play(more);
      expect(await drain(test.socket)).toMatchObject({ joins: "refuse" });
      expect(await told(port)).toBe(TEXT);
      await call(test.socket, "CancelDrain");
      expect(await player.play(read)).toBe(before);
      await comesIn(port);
    }
  });

  it("waits at a TCP socket of the same berth, and the note says so", async () => {
    const port = await freePort();
    const rcon = `[sockets.rcon]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]`;
    await using test = await startBroker({ "game.toml": at(port).replace("[server]", rcon) });
    await using _ = await launch(test.socket, port);
    const note = "nobody is turned away at socket rcon: only players who join by UDP can be turned away";
    expect(await drain(test.socket)).toMatchObject({ joins: "refuse", note });
    const { socket } = new LineClient(port);
    await mustWait(port, 1);
    expect(await told(port)).toBe(TEXT);
    socket.destroy();
  });

  it.each(["SIGKILL", "--replace"])("is told by the next broker after %s, which lets players in again", async (how) => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": at(port) });
    await using _ = await launch(broker.socket, port);
    using player = new Player(port);
    await player.play("count = 0");
    await drain(broker.socket);
    expect(await told(port)).toBe(TEXT);
    if (how === "SIGKILL") {
      broker.child.kill("SIGKILL");
      await broker.exited;
      await waits(port);
    }
    await using next = launchBroker(broker.folder, how === "SIGKILL" ? [] : ["--replace", "must"]);
    await next.logged(isReady);
    await broker.exited;
    expect(await told(port)).toBe(TEXT);
    expect(await player.play("count += 1; result = count")).toBe("1");
    await call(next.socket, "CancelDrain");
    await comesIn(port);
    expect(await player.play("count += 1; result = count")).toBe("2");
  });

  it("comes in after SIGKILL of the broker where the server has locked its filter, until the next one", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": at(port) });
    await using _ = await launch(broker.socket, port);
    using player = new Player(port);
    await player.play(LOCK_FILTER);
    await drain(broker.socket);
    expect(await told(port)).toBe(TEXT);
    broker.child.kill("SIGKILL");
    await broker.exited;
    await comesIn(port);
    await using next = launchBroker(broker.folder, []);
    await next.logged(isReady);
    expect(await told(port)).toBe(TEXT);
  });

  it("comes in to the next server where the socket is opened again, though the doorman is slow to leave it", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using old = await launch(test.socket, port);
    using player = new Player(port);
    await player.play(ATTACH_FILTER);
    await player.play(LOCK_FILTER);
    await drain(test.socket);
    expect(await told(port)).toBe(TEXT);
    process.kill(await ready(), "SIGSTOP");
    await old.kill();
    const repairs = (): string[] =>
      test.log.map(({ message }) => message).filter((text) => text.includes("opened again"));
    await expect.poll(repairs, PATIENCE).toEqual([expect.stringContaining("it was opened again")]);
    await using _ = await launch(test.socket, port);
    await comesIn(port);
  });
});

it("a hundred drains leave no descriptor behind", needsGroups(), async () => {
  const port = await freePort();
  await using test = await startBroker({ "game.toml": at(port) });
  await using _ = await launch(test.socket, port);
  await drainsLeaveNothing(test.socket);
});
