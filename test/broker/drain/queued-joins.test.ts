/** `server.drain = "queue"`: new joins wait while a berth drains, those who play go on, and no later server is deaf. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { drainOf } from "../../../src/berth-state.ts";
import { joinFilter } from "../../../src/broker/drain/join-filter.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { joinShapes } from "../../../src/net/join-shapes.ts";
import { NOBODY, Server } from "../../bind/harness.ts";
import { isReady, launchBroker, spawnBroker, startBroker, TestFolder } from "../../support/broker.ts";
import { call, type Drain, drain } from "../../support/drain-calls.ts";
import { leaksNothing, openFds } from "../../support/fds.ts";
import { LineClient, lineServer, mustWait } from "../../support/line-server.ts";
import { isRoot, needs } from "../../support/needs.ts";
import { notifyServer } from "../../support/notify-server.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";

vi.setConfig({ testTimeout: 60_000 });
leaksNothing("soon");

const user = isRoot ? `user = ${NOBODY}\n` : "";
const programs = new TestFolder({ "tcp.py": lineServer, "udp.py": notifyServer });
afterAll(() => programs[Symbol.dispose]());

/** Linux 6.18 lets only those with CAP_NET_ADMIN filter TCP: the tests of its joins need root. */
const tcp = (port: number): string =>
  `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\n${user}drain = "queue"\n`;
const udp = (port: number, query = 'query = { type = "quake3" }\n'): string =>
  `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\n${user}drain = "queue"\n${query}`;

async function shown(socket: string): Promise<Drain | undefined> {
  using peer = await RawPeer.connect(socket);
  const [first] = ((await peer.call("List"))?.parameters["berths"] ?? []) as { readonly drain?: Drain }[];
  return first?.drain;
}

async function launch(socket: string, program: string, lines: number): Promise<Server> {
  const words = ["--socket", socket, "game", "--", "/usr/bin/python3", "-S", join(programs.path, program)];
  const server = new Server(launcherPath(), words);
  await server.said(lines);
  return server;
}

describe("new connections, while a berth drains", needs("root"), () => {
  it("wait for the next server, and none is refused or reset; a player goes on until the end", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": tcp(port) });
    await using old = await launch(test.socket, "tcp.py", 1);
    const player = new LineClient(port);
    await player.connected;
    expect(await player.ask()).toBe(old.pid);
    expect(await drain(test.socket)).toMatchObject({ joins: "queue" });
    expect(await shown(test.socket)).toMatchObject({ joins: "queue" });
    const joining = Array.from({ length: 20 }, () => new LineClient(port));
    await mustWait(port, joining.length);
    expect(await player.ask()).toBe(old.pid);
    await call(test.socket, "Drain", { within: 1 });
    await old.ended();
    await expect.poll(() => test.broker.berths[0]?.lease).toBeUndefined();
    await using next = await launch(test.socket, "tcp.py", 1);
    const asked = async (client: LineClient): Promise<number> => {
      await client.connected;
      return await client.ask();
    };
    expect(new Set(await Promise.all(joining.map(asked)))).toEqual(new Set([next.pid]));
    expect(joining.map(({ problem }) => problem)).toEqual(joining.map(() => undefined));
    for (const { socket } of [player, ...joining]) socket.destroy();
  });

  it("come in when the drain is cancelled, and wait in the next one", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": tcp(port) });
    await using server = await launch(test.socket, "tcp.py", 1);
    for (let times = 0; times < 2; times++) {
      expect(await drain(test.socket)).toMatchObject({ joins: "queue" });
      const client = new LineClient(port);
      await mustWait(port, 1);
      expect(await call(test.socket, "CancelDrain")).toMatchObject({ parameters: { drain: { joins: "queue" } } });
      await client.connected;
      expect(await client.ask()).toBe(server.pid);
      client.socket.destroy();
    }
  });

  it("come in to a server that takes the berth over", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": tcp(port) });
    await using _ = await launch(test.socket, "tcp.py", 1);
    await drain(test.socket);
    const client = new LineClient(port);
    await mustWait(port, 1);
    using newcomer = await RawPeer.connect(test.socket);
    const taken = await newcomer.call("Acquire", { replace: "must", berth: "game" });
    await newcomer.call("Ready", { lease: taken?.parameters["lease"] });
    await client.connected;
    client.socket.destroy();
  });

  it("come in to the next server where the old one was killed", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": tcp(port) });
    await using old = await launch(test.socket, "tcp.py", 1);
    await drain(test.socket);
    await old.kill();
    await expect.poll(() => test.broker.berths[0]?.lease).toBeUndefined();
    await using next = await launch(test.socket, "tcp.py", 1);
    const client = new LineClient(port);
    await client.connected;
    expect(await client.ask()).toBe(next.pid);
    client.socket.destroy();
  });

  it("wait on when the broker is killed, and come in when the next one cancels the drain", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": tcp(port) });
    await using server = await launch(broker.socket, "tcp.py", 1);
    await drain(broker.socket);
    broker.child.kill("SIGKILL");
    await broker.exited;
    const early = new LineClient(port);
    await mustWait(port, 1);
    await using next = launchBroker(broker.folder);
    await next.logged(isReady);
    await expect.poll(async () => await shown(next.socket)).toMatchObject({ joins: "queue" });
    const late = new LineClient(port);
    await mustWait(port, 2);
    await call(next.socket, "CancelDrain");
    for (const client of [early, late]) {
      await client.connected;
      expect(await client.ask()).toBe(server.pid);
      client.socket.destroy();
    }
  });

  it("do not wait in the next broker where no drain was recorded when the old one was killed", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": tcp(port) });
    await using server = await launch(broker.socket, "tcp.py", 1);
    await drain(broker.socket);
    await call(broker.socket, "CancelDrain");
    broker.child.kill("SIGKILL");
    await broker.exited;
    await using next = launchBroker(broker.folder);
    await next.logged(isReady);
    const client = new LineClient(port);
    await client.connected;
    expect(await client.ask()).toBe(server.pid);
    client.socket.destroy();
  });

  it("come in to the next server where both the broker and the draining server were killed", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": tcp(port) });
    await using old = await launch(broker.socket, "tcp.py", 1);
    await drain(broker.socket);
    broker.child.kill("SIGKILL");
    await broker.exited;
    await old.kill();
    await using next = launchBroker(broker.folder);
    await next.logged(isReady);
    await using server = await launch(next.socket, "tcp.py", 1);
    const client = new LineClient(port);
    await client.connected;
    expect(await client.ask()).toBe(server.pid);
    client.socket.destroy();
  });
});

/** Datagrams to a port, and what came back so far. */
class Player implements Disposable {
  readonly #socket = createSocket("udp4");
  readonly #port: number;
  readonly answers: string[] = [];

  constructor(port: number) {
    this.#port = port;
    this.#socket.on("message", (data) => this.answers.push(data.toString()));
  }

  send(payload: string): void {
    this.#socket.send(Buffer.from(payload, "latin1"), this.#port, "127.0.0.1");
  }

  /** Runs Python in the server. Answers come in the order of the datagrams. */
  async do(code: string): Promise<string> {
    const before = this.answers.length;
    this.send(code);
    while (this.answers.length === before) await once(this.#socket, "message", { signal: AbortSignal.timeout(30_000) });
    return this.answers.at(-1) ?? "";
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

const JOIN = "\xff\xff\xff\xffgetchallenge";
const STATUS = "\xff\xff\xff\xffgetstatus";
/** Keeps every datagram. */
const OWN = "import struct,ctypes; b=ctypes.create_string_buffer(struct.pack('HBBI',6,0,0,0xfffffff0),8)";
const ATTACH = "game.setsockopt(1,26,struct.pack('HxxxxxxP',1,ctypes.addressof(b)))";
const LOCK = "game.setsockopt(1,44,1)";
/** How many instructions the socket's filter has, and the last one. */
const READ =
  "a=ctypes.create_string_buffer(32768); n=ctypes.c_uint(4096); ctypes.CDLL(None).getsockopt(3,1,26,a,ctypes.byref(n)); " +
  "result=(n.value, a.raw[8*n.value-8:8*n.value].hex())";

describe("joins by datagram, while a berth drains", () => {
  it("wait, and status queries and players do not", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": udp(port) });
    await using _ = await launch(test.socket, "udp.py", 0);
    using player = new Player(port);
    expect(await player.do("result = 1")).toBe("1");
    expect(await drain(test.socket)).toMatchObject({ joins: "queue" });
    player.send(JOIN);
    expect(await player.do(STATUS)).toContain("UnicodeDecodeError");
    expect(await player.do("result = 2")).toBe("2");
    expect(player.answers.length).toBe(3);
    await call(test.socket, "CancelDrain");
    expect(await player.do(JOIN)).toContain("UnicodeDecodeError");
  });

  it("come in again where a broker was killed that had not removed its filter, and no drain is on record", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": udp(port) });
    await using _ = await launch(broker.socket, "udp.py", 0);
    using player = new Player(port);
    const left = joinFilter(joinShapes("quake3") ?? [], Buffer.of()) ?? Buffer.of();
    const bytes = `bytes.fromhex('${Buffer.from(left).toString("hex")}')`;
    await player.do(`import struct,ctypes; b=ctypes.create_string_buffer(${bytes},${left.length})`);
    await player.do(`game.setsockopt(1,26,struct.pack('HxxxxxxP',${left.length / 8},ctypes.addressof(b)))`);
    expect(await player.do(READ)).toMatch(new RegExp(`^\\(${left.length / 8}, `));
    broker.child.kill("SIGKILL");
    await broker.exited;
    await using next = launchBroker(broker.folder);
    await next.logged(isReady);
    await expect.poll(async () => await player.do(READ), { timeout: 30_000 }).toMatch(/^\(0, /);
    expect(await player.do(JOIN)).toContain("UnicodeDecodeError");
  });

  it("wait beside the server's own filter, which is as before afterwards", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": udp(port) });
    await using _ = await launch(test.socket, "udp.py", 0);
    using player = new Player(port);
    await player.do(`${OWN}; ${ATTACH}`);
    const before = await player.do(`import ctypes; ${READ}`);
    expect(before).toMatch(/^\(1, /);
    expect(await drain(test.socket)).toMatchObject({ joins: "queue" });
    expect(await player.do(READ)).not.toBe(before);
    player.send(JOIN);
    const answers = player.answers.length;
    expect(await player.do("result = 3")).toBe("3");
    expect(player.answers.length).toBe(answers + 1);
    await call(test.socket, "CancelDrain");
    expect(await player.do(READ)).toBe(before);
  });

  it("go on where the server has locked its filter: the drain and the log say so", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": udp(port) });
    await using _ = await launch(test.socket, "udp.py", 0);
    using player = new Player(port);
    await player.do(`${OWN}; ${ATTACH}; ${LOCK}`);
    const note = "new joins of socket game go on: its server has locked the socket's filter";
    expect(await drain(test.socket)).toMatchObject({ joins: "serve", note });
    const told = await shown(test.socket);
    expect(told).toMatchObject({ joins: "serve", note });
    expect(drainOf({ drain: { began: 0, joins: "queue", note } }, 0)).toBe(
      `its server stops once nobody plays; new joins wait for the next server; ${note}`,
    );
    expect(test.log.find(({ event }) => event === "joins")).toMatchObject({
      level: "warning",
      message: `berth game: ${note}`,
    });
    expect(await player.do(JOIN)).toContain("UnicodeDecodeError");
  });

  it(
    "go on where berthd does not know the protocol, and connections to the same berth wait",
    needs("root"),
    async () => {
      const port = await freePort();
      const both = udp(port, "").replace("[server]", `[sockets.web]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]`);
      await using test = await startBroker({ "game.toml": both });
      await using _ = await launch(test.socket, "udp.py", 0);
      using player = new Player(port);
      await player.do("1");
      const note =
        "new joins of socket game go on: berthd does not know how a client joins; server.query or server.asleep says the protocol";
      expect(await drain(test.socket)).toMatchObject({ joins: "queue", note });
      expect(await player.do(JOIN)).toContain("UnicodeDecodeError");
      const client = new LineClient(port);
      await mustWait(port, 1);
      await call(test.socket, "CancelDrain");
      await client.connected;
      client.socket.destroy();
    },
  );
});

it("a hundred drains leave no descriptor behind", needs("root"), async () => {
  const port = await freePort();
  await using test = await startBroker({ "game.toml": tcp(port) });
  await using _ = await launch(test.socket, "tcp.py", 1);
  using peer = await RawPeer.connect(test.socket);
  const round = async (): Promise<void> => {
    expect((await peer.call("Drain", { berth: "game" }))?.parameters["drain"]).toMatchObject({ joins: "queue" });
    await peer.call("CancelDrain", { berth: "game" });
  };
  await round();
  const before = openFds().length;
  for (let times = 0; times < 100; times++) await round();
  await expect.poll(() => openFds().length).toBeLessThanOrEqual(before);
});
