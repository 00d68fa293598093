/** A login of Minecraft Java waits in the kernel's queue for a server that sleeps, and is the server's first. */
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { constants } from "node:os";
import { describe, expect, it, vi } from "vitest";
import { native } from "../../../src/native.ts";
import { SO_ACCEPTCONN, SOL_SOCKET } from "../../../src/net/socket-constants.ts";
import { needsBpf } from "../../support/bpf.ts";
import {
  berth,
  client as datagrams,
  doormen,
  PATIENCE,
  ready,
  send,
  status,
  talk,
} from "../../support/doorman/doors.ts";
import { forgeSegment } from "../../support/doorman/forged-segment.ts";
import { joins } from "../../support/doorman/scans.ts";
import { handshake, login, PING, REQUEST, streamScans } from "../../support/doorman/streams.ts";
import { leaksNothing } from "../../support/fds.ts";
import { freePort } from "../../support/ports.ts";
import { lateServer, type StartingBroker, startingBroker } from "../../support/starting-broker.ts";

leaksNothing("soon");

const { EACCES } = constants.errno;
const asleep = 'asleep = "minecraft"\nasleep-as = { name = "Frozen Lake", slots = 12 }\n';
const many = 'limits = { nofile = "8192:8192" }\n';
const LOGIN = Buffer.concat([handshake(2), login("Steve")]);
const STATUS = Buffer.concat([handshake(1), REQUEST, PING]);
const JOIN_AGAIN = "Frozen Lake is starting; join again in a few seconds";

/** A berth that sleeps, with its doorman. */
async function world(
  port: number,
  hold: string,
  host = "127.0.0.1",
  more: readonly string[] = [],
): Promise<StartingBroker> {
  const keys = `${asleep}${many}hold-login = "${hold}"\n`;
  const listen = [`tcp://${host}:${port}`, ...more];
  const broker = await startingBroker({ "world.toml": berth(listen, keys, lateServer) });
  await ready();
  await vi.waitFor(() => expect(filterOn(port)).toBe(-EACCES), PATIENCE);
  return broker;
}

/** Of the listening socket on this port: -EACCES is one of eBPF. */
function filterOn(port: number): number {
  const address = Buffer.alloc(28);
  const listening = new Int32Array(1);
  const fd = readdirSync("/proc/self/fd")
    .map(Number)
    .find((one) => {
      native.getsockopt(one, SOL_SOCKET, SO_ACCEPTCONN, listening);
      return listening[0] === 1 && native.getsockname(one, address) >= 0 && address.readUInt16BE(2) === port;
    });
  return native.filterLength(fd ?? expect.unreachable());
}

async function client(port: number, host = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ port, host, noDelay: true });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

const write = (socket: Socket, bytes: Uint8Array): Promise<void> =>
  new Promise((done, fail) => socket.write(bytes, (error) => (error ? fail(error) : done())));

/** All that the other end says. */
async function heard(socket: Socket): Promise<string> {
  let said = "";
  for await (const part of socket) said += String(part);
  return said;
}

/** The server, once it can be told to accept. */
async function started({ watcher, broker }: StartingBroker): Promise<number> {
  await watcher.count("acquired", 1);
  const pid = broker.berths[0]?.lease?.pid ?? expect.unreachable();
  // It catches the signal (proc_pid_status(5)).
  await vi.waitFor(() => expect(status(pid)).toMatch(/^SigCgt:.*[2367abef]..$/m), PATIENCE);
  return pid;
}

async function accept(broker: StartingBroker): Promise<void> {
  process.kill(await started(broker), "SIGUSR1");
}

describe("a login that is held", needsBpf(), () => {
  it("wakes the server and is its first connection, with all that it said", async () => {
    const port = await freePort();
    await using broker = await world(port, "28s");
    expect(await talk(port, STATUS)).toContain('"max":12,"online":0');
    expect(broker.watcher.names()).toEqual([]);
    const player = await client(port);
    await write(player, LOGIN);
    await accept(broker);
    expect(await heard(player)).toBe(`0: ${LOGIN.toString("hex")}`);
    // The server accepts: no login waits any more.
    await vi.waitFor(() => expect(filterOn(port)).toBe(0), PATIENCE);
  });

  it.each(["127.0.0.1", "::1"])("may come from %s to a socket of both kinds, in many pieces", async (host) => {
    const port = await freePort();
    await using broker = await world(port, "28s", "*");
    const player = await client(port, host);
    const pieces = [LOGIN.subarray(0, 1), LOGIN.subarray(1, 9), LOGIN.subarray(9, 30), LOGIN.subarray(30)];
    for (const piece of pieces) await write(player, piece);
    await accept(broker);
    expect(await heard(player)).toBe(`0: ${LOGIN.toString("hex")}`);
  });

  it("comes through behind a thousand silent connections, and status queries are answered meanwhile", async () => {
    const port = await freePort();
    await using broker = await world(port, "28s");
    const silent = await Promise.all(Array.from({ length: 1000 }, () => client(port)));
    expect(await talk(port, STATUS)).toContain('"max":12,"online":0');
    silent.push(...(await Promise.all(Array.from({ length: 200 }, () => client(port)))));
    const player = await client(port);
    await write(player, LOGIN);
    await accept(broker);
    expect(await heard(player)).toMatch(new RegExp(`^\\d+: ${LOGIN.toString("hex")}$`));
    expect(broker.watcher.names().filter((name) => name === "starting")).toHaveLength(1);
    for (const socket of silent) socket.destroy();
  });

  it("is told to join again if the server takes too long, and no second server is started", async () => {
    const port = await freePort();
    await using broker = await world(port, "1s");
    const silent = await client(port);
    const early = await client(port);
    await write(early, LOGIN);
    expect(await heard(early)).toContain(JOIN_AGAIN);
    await started(broker);
    const late = await client(port);
    await write(late, LOGIN);
    await accept(broker);
    expect(await heard(late)).toMatch(new RegExp(`${LOGIN.toString("hex")}|${JOIN_AGAIN}`));
    expect(broker.watcher.names().filter((name) => name === "starting")).toHaveLength(1);
    silent.destroy();
  });

  it("is the server's also if the doorman is killed meanwhile", async () => {
    const port = await freePort();
    await using broker = await world(port, "28s");
    const player = await client(port);
    await write(player, LOGIN);
    const pid = await started(broker);
    for (const doorman of doormen()) process.kill(doorman, "SIGKILL");
    await vi.waitFor(() => expect(doormen()).toEqual([]), PATIENCE);
    process.kill(pid, "SIGUSR1");
    expect(await heard(player)).toBe(`0: ${LOGIN.toString("hex")}`);
  });

  it("is the server's also if somebody joins by UDP first", async () => {
    const port = await freePort();
    await using broker = await world(port, "28s", "127.0.0.1", [`udp://127.0.0.1:${port}`]);
    const udp = await datagrams(port);
    await send(udp, joins["Bedrock"]?.bytes ?? expect.unreachable());
    await broker.watcher.count("starting", 1);
    const player = await client(port);
    await write(player, LOGIN);
    await accept(broker);
    expect(await heard(player)).toBe(`0: ${LOGIN.toString("hex")}`);
    udp.close();
  });
});

it("scans start nothing where logins are held", needsBpf(), async () => {
  const port = await freePort();
  await using broker = await world(port, "28s");
  const scans = await Promise.all(
    Object.values(streamScans).map(async (bytes) => {
      const socket = await client(port);
      if (bytes.length > 0) socket.write(bytes);
      return socket;
    }),
  );
  // All of them came before, so they have been accepted when this is answered.
  expect(await talk(port, STATUS)).toContain('"max":12,"online":0');
  expect(await talk(port, STATUS)).toContain('"max":12,"online":0');
  expect(broker.watcher.names()).toEqual([]);
  for (const socket of scans) socket.destroy();
});

it("a forged segment of no connection wakes nothing", needsBpf(), async () => {
  const port = await freePort();
  await using broker = await world(port, "28s");
  for (const bytes of [LOGIN, STATUS]) forgeSegment("127.0.0.9", port, bytes);
  // The doorman has read what came before when this is answered.
  expect(await talk(port, STATUS)).toContain('"max":12,"online":0');
  expect(broker.watcher.names()).toEqual([]);
});
