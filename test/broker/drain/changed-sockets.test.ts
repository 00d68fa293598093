/** A berth that drains gets other sockets: the drain says what becomes of joins at those that it has now. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { native } from "../../../src/native.ts";
import { berth, inodesAt, run } from "../../bind/harness.ts";
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

/** A server that binds an address twice: at SIGUSR1 it closes its socket first. */
const binder = (type: string, port: number): string => `
import signal, socket
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for _ in range(2):
  s = socket.socket(socket.AF_INET, socket.${type})
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  s.bind(("127.0.0.1", ${port}))
  print("bound", flush=True)
  signal.sigwait([signal.SIGUSR1])
  s.close()
`;

/** How long the filter is of the broker's socket at a port. */
function filterAt(protocol: "tcp" | "udp", port: number): number {
  const [inode = ""] = inodesAt(protocol, port);
  const fd = readdirSync("/proc/self/fd").find((one) => linkOf(`/proc/self/fd/${one}`) === `socket:[${inode}]`);
  return native.filterLength(Number(fd ?? -1));
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed meanwhile
  }
}

it.each([
  ["udp", "SOCK_DGRAM"],
  ["tcp", "SOCK_STREAM"],
] as const)(
  "%s: a server that binds anew while its berth drains has joins held back",
  needs("root"),
  async (protocol, type) => {
    const port = await freePort();
    const text = berth(
      { game: [`${protocol}://127.0.0.1:${port}`] },
      'drain = "queue"\nquery = { type = "quake3", port = 9 }',
    );
    await using test = await startBroker({ "game.toml": text });
    await using server = run(test, "game", ["/usr/bin/python3", "-S", "-c", binder(type, port)]);
    await server.said(1);
    expect(await drain(test.socket)).toMatchObject({ joins: "queue" });
    expect(filterAt(protocol, port)).toBeGreaterThan(0);
    server.child.kill("SIGUSR1");
    await server.said(2);
    await expect.poll(() => filterAt(protocol, port), PATIENCE).toBeGreaterThan(0);
    expect(joins(test)).toBe("queue");
  },
);
