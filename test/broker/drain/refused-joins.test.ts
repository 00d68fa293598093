/**
 * `server.drain = "refuse"`: players who join while a berth drains are told so, and the server never hears of it. Other
 * players go on. Without a doorman joins wait.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { drainOf } from "../../../src/berth-state.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { native } from "../../../src/native.ts";
import { NOBODY, Server } from "../../bind/harness.ts";
import { isReady, launchBroker, spawnBroker, startBroker, TestFolder } from "../../support/broker.ts";
import { doormen, PATIENCE, ready } from "../../support/doorman/doors.ts";
import { handshake, login } from "../../support/doorman/streams.ts";
import { call, drain, drainsLeaveNothing } from "../../support/drain-calls.ts";
import { leaksNothing } from "../../support/fds.ts";
import { LineClient, lineServer, mustWait } from "../../support/line-server.ts";
import { needs } from "../../support/needs.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";

vi.setConfig({ testTimeout: 90_000 });
leaksNothing("soon");

const programs = new TestFolder({ "server.py": lineServer });
afterAll(() => programs[Symbol.dispose]());

const file = (listen: string, more = ""): string =>
  `[sockets.game]\nlisten = [${listen}]\n${more}[server]\nuser = ${NOBODY}\ndrain = "refuse"\nquery = { type = "minecraft" }\n`;
const at = (port: number): string => file(`"tcp://127.0.0.1:${port}"`);

async function launch(socket: string): Promise<Server> {
  const words = ["--socket", socket, "game", "--", "/usr/bin/python3", "-S", join(programs.path, "server.py")];
  const server = new Server(launcherPath(), words);
  await server.said(1);
  return server;
}

/** All that comes back for these bytes until the other end closes. */
async function answerTo(bytes: Uint8Array, port: number, host = "127.0.0.1"): Promise<string> {
  const socket = connect(port, host);
  const parts: Buffer[] = [];
  socket.on("data", (data) => parts.push(data));
  const end = once(socket, "end", { signal: AbortSignal.timeout(60_000) });
  socket.write(bytes);
  await end;
  socket.destroy();
  return Buffer.concat(parts).toString();
}

const LOGIN = Buffer.concat([handshake(2), login("Steve")]);
/** Behind three bytes: two lengths and a number. */
const read = async (...where: Parameters<typeof answerTo> extends [unknown, ...infer Rest] ? Rest : never) =>
  (await answerTo(LOGIN, ...where)).slice(3);
const TEXT = '{"text":"This server restarts once nobody plays"}';

/** A player who says so many lines, and hears each of them once and in order, from this server. */
async function plays(player: LineClient, server: Server, lines = 20): Promise<void> {
  for (let line = 0; line < lines; line++) expect(await player.ask(`line ${line}\n`)).toBe(server.pid);
}

const accepted = ({ lines }: Server): number => lines.filter((line) => line === "accepted").length;

describe("who joins while a berth drains", needs("root"), () => {
  it("is told when the server restarts, which never hears of it; a player goes on", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using server = await launch(test.socket);
    const player = new LineClient(port);
    await plays(player, server);
    expect(await drain(test.socket)).toMatchObject({ joins: "refuse" });
    for (let times = 0; times < 5; times++) {
      const told = await Promise.all(Array.from({ length: 8 }, () => read(port)));
      expect(new Set(told)).toEqual(new Set([TEXT]));
      await plays(player, server, 5);
    }
    expect(accepted(server)).toBe(1);
    using peer = await RawPeer.connect(test.socket);
    const [listed] = ((await peer.call("List"))?.parameters["berths"] ?? []) as [{ drain: { began: number } }];
    expect(drainOf(listed, 0)).toBe("its server stops once nobody plays; new players are turned away");
    expect(listed.drain).not.toHaveProperty("note");
    player.socket.destroy();
  });

  it("reads the berth's own text, with the time that is left, and a new deadline at once", async () => {
    const port = await freePort();
    const text = 'drain-text = "Back soon: {when}"\n';
    await using test = await startBroker({ "game.toml": at(port) + text });
    await using _ = await launch(test.socket);
    await drain(test.socket, 600);
    expect(await read(port)).toBe('{"text":"Back soon: in 10 minutes"}');
    await drain(test.socket, 7200);
    expect(await read(port)).toBe('{"text":"Back soon: in 2 hours"}');
  });

  it("is told so by IPv4 and IPv6 where the socket takes both, and nobody at another address of the port", async () => {
    const port = await freePort();
    const other = `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[server]\nuser = ${NOBODY}\n`;
    await using test = await startBroker({
      "game.toml": file(`"tcp://127.0.0.2:${port}", "tcp://[::1]:${port}"`),
      "other.toml": other,
    });
    await using _ = await launch(test.socket);
    await drain(test.socket);
    expect(await read(port, "127.0.0.2")).toBe(TEXT);
    expect(await read(port, "::1")).toBe(TEXT);
    // The other berth's queue: it is accepted by nobody, and by no doorman.
    const neighbour = new LineClient(port);
    await neighbour.connected;
    neighbour.socket.write(LOGIN);
    expect(await read(port, "127.0.0.2")).toBe(TEXT);
    expect(neighbour.socket.bytesRead).toBe(0);
    neighbour.socket.destroy();
  });

  it("is told so at every address of a socket for all of them", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": file(`"tcp://*:${port}"`) });
    await using _ = await launch(test.socket);
    await drain(test.socket);
    for (const host of ["127.0.0.1", "127.9.9.9", "::1"]) expect(await read(port, host)).toBe(TEXT);
  });

  it("gets in when the drain is cancelled, and is turned away in the next one", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using server = await launch(test.socket);
    for (let times = 0; times < 2; times++) {
      expect(await drain(test.socket)).toMatchObject({ joins: "refuse" });
      expect(await read(port)).toBe(TEXT);
      expect(await call(test.socket, "CancelDrain")).toMatchObject({ parameters: { drain: { joins: "refuse" } } });
      const player = new LineClient(port);
      await plays(player, server, 1);
      player.socket.destroy();
    }
  });

  it("gets in to a server that takes the berth over, and to the next one after a kill", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using old = await launch(test.socket);
    await drain(test.socket);
    expect(await read(port)).toBe(TEXT);
    await old.kill();
    await expect.poll(() => test.broker.berths[0]?.lease, PATIENCE).toBeUndefined();
    await using next = await launch(test.socket);
    const player = new LineClient(port);
    await plays(player, next, 1);
    await drain(test.socket);
    expect(await read(port)).toBe(TEXT);
    using newcomer = await RawPeer.connect(test.socket);
    const taken = await newcomer.call("Acquire", { replace: "must", berth: "game" });
    await newcomer.call("Ready", { lease: taken?.parameters["lease"] });
    const late = new LineClient(port);
    await late.connected;
    for (const { socket } of [player, late]) socket.destroy();
  });

  it("is told by the next doorman where one was killed", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using server = await launch(test.socket);
    await drain(test.socket);
    expect(await read(port)).toBe(TEXT);
    const first = await ready();
    process.kill(first, "SIGKILL");
    await expect.poll(() => doormen().includes(first), PATIENCE).toBe(false);
    expect(await read(port)).toBe(TEXT);
    expect(accepted(server)).toBe(0);
  });

  it("waits while there is no doorman", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) });
    await using server = await launch(test.socket);
    await drain(test.socket);
    // Each end is reported, and the next start comes later: the second one after two seconds.
    for (let times = 1; times <= 2; times++) {
      process.kill(await ready(), "SIGKILL");
      await expect.poll(() => test.log.filter(({ event }) => event === "doorman").length, PATIENCE).toBe(times);
    }
    const early = new LineClient(port);
    await mustWait(port, 1);
    expect(accepted(server)).toBe(0);
    await call(test.socket, "CancelDrain");
    await plays(early, server, 1);
    early.socket.destroy();
  });

  it("waits where the kernel lets nobody steer connections, and the note says so", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) }, { sys: { ...native, bpfMap: () => -1 } });
    await using server = await launch(test.socket);
    const drained = await drain(test.socket);
    const why = "the kernel does not let the broker steer connections (bpf: EPERM)";
    expect(drained).toMatchObject({ joins: "queue", note: expect.stringContaining(`at socket game: ${why}; `) });
    const early = new LineClient(port);
    await mustWait(port, 1);
    await call(test.socket, "CancelDrain");
    await plays(early, server, 1);
    early.socket.destroy();
  });

  it.each([
    ["reuse-port = true\n", "others may share its address (SO_REUSEPORT)"],
    ['device = "lo"\n', "it is bound to an interface"],
  ])("waits where another socket could be meant: %s", async (option, why) => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": file(`"tcp://127.0.0.1:${port}"`, option) });
    await using _ = await launch(test.socket);
    const note = `nobody is turned away at socket game: ${why}`;
    expect(await drain(test.socket)).toMatchObject({ joins: "queue", note });
  });

  it("does not keep the server from being stopped, however long and often it is connected", async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": at(port) }, { drains: { look: 100, quiet: 1500 } });
    await using server = await launch(test.socket);
    const silent = (): void => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined).on("close", () => clients.delete(socket));
      clients.add(socket);
    };
    const clients = new Set<ReturnType<typeof connect>>();
    await drain(test.socket);
    expect(await read(port)).toBe(TEXT);
    silent();
    const more = setInterval(silent, 100);
    await server.ended();
    clearInterval(more);
    for (const socket of clients) socket.destroy();
  });

  it("is told by the next broker where this one was killed, and gets in when that one cancels the drain", async () => {
    const port = await freePort();
    await using broker = await spawnBroker({ "game.toml": at(port) });
    await using server = await launch(broker.socket);
    const player = new LineClient(port);
    await plays(player, server);
    await drain(broker.socket);
    expect(await read(port)).toBe(TEXT);
    broker.child.kill("SIGKILL");
    await broker.exited;
    const early = read(port);
    await mustWait(port, 1);
    await plays(player, server);
    await using next = launchBroker(broker.folder);
    await next.logged(isReady);
    expect(await early).toBe(TEXT);
    expect(accepted(server)).toBe(1);
    await call(next.socket, "CancelDrain");
    const late = new LineClient(port);
    await plays(late, server, 1);
    await plays(player, server);
    for (const { socket } of [player, late]) socket.destroy();
  });
});

it("a hundred drains leave no descriptor behind", needs("root"), async () => {
  const port = await freePort();
  await using test = await startBroker({ "game.toml": at(port) });
  await using _ = await launch(test.socket);
  await drainsLeaveNothing(test.socket);
});
