/** A berth that drains gets other sockets: the drain says what becomes of joins at those that it has now. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { needsGroups } from "../../support/bpf.ts";
import { startBroker, type TestBroker } from "../../support/broker.ts";
import { PATIENCE } from "../../support/doorman/doors.ts";
import { lastJoins } from "../../support/doorman/last-joins.ts";
import { drain } from "../../support/drain-calls.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

leaksNothing("soon");

const TEXT = "This server restarts once nobody plays";
const AGAIN_MS = 200;
const quake = lastJoins["Quake III"] ?? expect.unreachable();

const file = (mode: string, listen: readonly string[]): string =>
  listen.map((one, at) => `[sockets.game${at}]\nlisten = ["${one}"]\n`).join("") +
  `[server]\ndrain = "${mode}"\nquery = { type = "quake3", port = 9 }\n`;

const udp = (port: number): string => `udp://127.0.0.1:${port}`;

/** What a newcomer reads. */
async function told(port: number): Promise<string> {
  const socket = createSocket("udp4");
  const send = (): void => socket.send(quake.bytes, port, "127.0.0.1");
  const again = setInterval(send, AGAIN_MS);
  try {
    send();
    const [answer] = (await once(socket, "message", { signal: AbortSignal.timeout(30_000) })) as [Buffer];
    return quake.told(answer);
  } finally {
    clearInterval(again);
    socket.close();
  }
}

function reload({ folder, broker }: TestBroker, text: string): void {
  folder.write({ "config/game.toml": text });
  broker.reload();
}

function joins({ broker }: TestBroker): string | undefined {
  return broker.berths[0]?.drain?.joins;
}

describe("while a berth drains, a reload", () => {
  it("takes a socket away: players are turned away at the others", needsGroups(), async () => {
    const [first, second] = [await freePort(), await freePort()];
    await using test = await startBroker({ "game.toml": file("refuse", [udp(first), udp(second)]) });
    await using server = await Puppet.connect(test.socket);
    await server.acquire("game");
    expect(await drain(test.socket)).toMatchObject({ joins: "refuse" });
    expect(await told(second)).toBe(TEXT);
    reload(test, file("refuse", [udp(first)]));
    expect(await told(first)).toBe(TEXT);
    expect(joins(test)).toBe("refuse");
  });

  it("takes the only one away at which players join: nobody is turned away any more", needsGroups(), async () => {
    const port = await freePort();
    await using test = await startBroker({ "game.toml": file("refuse", [udp(port)]) });
    await using server = await Puppet.connect(test.socket);
    await server.acquire("game");
    expect(await drain(test.socket)).toMatchObject({ joins: "refuse" });
    reload(test, file("serve", [`unix://${test.folder.path}/game.sock`]));
    await expect.poll(() => joins(test), PATIENCE).toBe("serve");
  });

  it("gives it one more: joins are held back there too", async () => {
    const [first, second] = [await freePort(), await freePort()];
    await using test = await startBroker({ "game.toml": file("queue", [udp(first)]) });
    await using server = await Puppet.connect(test.socket);
    await server.acquire("game");
    expect(await drain(test.socket)).toMatchObject({ joins: "queue" });
    reload(test, file("queue", [udp(first), udp(second)]));
    await server.acquire("game");
    // SO_GET_FILTER (socket(7)).
    await server.do("import ctypes\nc = ctypes.CDLL(None)");
    const length = "n = ctypes.c_uint(0); c.getsockopt(b.fds[-1], 1, 26, None, ctypes.byref(n)); result = n.value > 0";
    await expect.poll(() => server.do(length), PATIENCE).toBe(true);
  });
});

it("a listener that is opened again while its berth drains holds joins back", needs("root"), async () => {
  const port = await freePort();
  await using test = await startBroker({ "game.toml": file("queue", [`tcp://127.0.0.1:${port}`]) });
  await using server = await Puppet.connect(test.socket);
  await server.acquire("game");
  expect(await drain(test.socket)).toMatchObject({ joins: "queue" });
  await server.do("held(b.fds[-1]).shutdown(2)");
  await expect.poll(() => test.log.filter(({ event }) => event === "repaired").length, PATIENCE).toBe(1);
  await server.acquire("game");
  await server.do("import ctypes\nc = ctypes.CDLL(None)");
  const length = "n = ctypes.c_uint(0); c.getsockopt(b.fds[-1], 1, 26, None, ctypes.byref(n)); result = n.value > 0";
  await expect.poll(() => server.do(length), PATIENCE).toBe(true);
});
