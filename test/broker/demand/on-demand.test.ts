/** Servers that the broker starts by itself, at the first packet or connection, through the real launcher. */
import { createSocket } from "node:dgram";
import events from "node:events";
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { native } from "../../../src/native.ts";
import { O_NONBLOCK } from "../../../src/net/socket-constants.ts";
import { leaksNothing } from "../../support/fds.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";
import { programs, selfServer, startingBroker, user } from "../../support/starting-broker.ts";

leaksNothing("soon");

/** That server, or `otherwise` as long as there is no such file. */
const onceThereIs = (file: string, otherwise: string): string =>
  `command = ["/bin/sh", "-c", "test -e ${file} || ${otherwise}; exec /usr/bin/python3 -S ${programs.path}/self-server.py"]\n`;

function berth(listen: string, command: string, more = ""): string {
  return `[sockets.game]\nlisten = ["${listen}"]\n[server]\n${user}${command}start = "on-demand"\n${more}`;
}

describe("the first that comes starts the server, and is served", () => {
  it("a datagram", async () => {
    const port = await freePort();
    await using broker = await startingBroker({ "arena.toml": berth(`udp://127.0.0.1:${port}`, selfServer) });
    expect(broker.broker.berths[0]).toMatchObject({ state: "vacant", start: { state: "waiting", failures: 0 } });
    expect(await once(port, "hello")).toBe("echo hello");
    expect(broker.watcher.names()).toEqual(["starting", "acquired"]);
    expect(broker.broker.berths[0]).toMatchObject({ state: "occupied", start: { state: "running", failures: 0 } });
    // It runs, so nothing else is started, whatever comes.
    for (let n = 0; n < 20; n++) expect(await once(port, String(n))).toBe(`echo ${n}`);
    expect(broker.watcher.names()).toEqual(["starting", "acquired"]);
  });

  it.each(["tcp", "unix"])("a %s connection", async (kind) => {
    const port = await freePort();
    const path = `/tmp/berthd-on-demand-${process.pid}.sock`;
    const listen = kind === "tcp" ? `tcp://127.0.0.1:${port}` : `unix://${path}`;
    await using broker = await startingBroker({ "arena.toml": berth(listen, selfServer) });
    const client = kind === "tcp" ? connect(port, "127.0.0.1") : connect(path);
    let text = "";
    for await (const part of client) text += String(part);
    const { pid } = JSON.parse(text) as { pid: number };
    expect(broker.broker.berths[0]?.lease?.pid).toBe(pid);
  });

  it("and the next one does, when the server has ended", async () => {
    const port = await freePort();
    await using broker = await startingBroker(
      { "arena.toml": berth(`udp://127.0.0.1:${port}`, selfServer) },
      { settle: 0 },
    );
    for (let round = 0; round < 2; round++) {
      expect(await once(port, "hello")).toBe("echo hello");
      const [{ lease } = {}] = broker.broker.berths;
      process.kill(lease?.pid ?? 0, "SIGKILL");
      await broker.watcher.count("released", round + 1);
    }
    expect(broker.watcher.names().filter((event) => event !== "changed")).toEqual(
      Array.from({ length: 2 }, () => ["starting", "acquired", "released"]).flat(),
    );
  });
});

/** Sends one datagram, and no other; what is answered, however late. */
async function once(port: number, text: string, signal?: AbortSignal): Promise<string> {
  const socket = createSocket("udp4");
  try {
    socket.send(text, port, "127.0.0.1");
    const [data] = (await events.once(socket, "message", { signal })) as [Buffer];
    return data.toString();
  } finally {
    socket.close();
  }
}

describe("a server that does not start", () => {
  it("is tried again ever later, says why, and still gets the datagram that woke it", async () => {
    const port = await freePort();
    const command = onceThereIs(join(programs.path, "fixed"), "exit 3");
    await using broker = await startingBroker(
      { "arena.toml": berth(`udp://127.0.0.1:${port}`, command) },
      { firstDelay: 20, longestDelay: 50, settle: 3000 },
    );
    const { watcher } = broker;
    const answer = once(port, "patience");
    const failed = (await watcher.count("failed", 4)).map(({ berth }) => berth);
    expect(failed.slice(0, 4).map(({ start }) => [start?.state, start?.failures, start?.status])).toEqual(
      [1, 2, 3, 4].map((failures) => ["failed", failures, 3]),
    );
    expect(failed[0]).toMatchObject({ state: "vacant", start: { reason: "it ended with status 3" } });
    expect(failed[0]?.start?.next).toBeGreaterThan(Date.now() * 1000 - 10_000_000);
    const delays = broker.log.flatMap(({ message }) => /trying again in (\S+) s$/.exec(message)?.[1] ?? []);
    expect(delays.slice(0, 4)).toEqual(["0.02", "0.04", "0.05", "0.05"]);
    const before = watcher.events.length;
    programs.write({ fixed: "" });
    expect(await answer).toBe("echo patience");
    // It has started as soon as it has run for a while.
    const settled = await watcher.until(
      ({ berth }) => berth.state === "occupied" && berth.start?.failures === 0,
      before,
    );
    expect(settled.berth.start).toEqual({ state: "running", failures: 0 });
  });

  it.each([
    ["is ended by a signal", "kill -SEGV $$", { reason: "it was ended by SIGSEGV", signal: "SIGSEGV" }],
    ["ends well, but leaves what has come unread", "exit 0", { reason: "it ended with status 0", status: 0 }],
  ])("because it %s", async (_, otherwise, start) => {
    const port = await freePort();
    const command = onceThereIs("/nowhere", otherwise);
    await using broker = await startingBroker({ "arena.toml": berth(`udp://127.0.0.1:${port}`, command) });
    const answer = new AbortController();
    once(port, "x", answer.signal).catch(() => undefined);
    const { berth: failed } = await broker.watcher.until(({ event }) => event === "failed");
    answer.abort();
    expect(failed.start).toMatchObject({ state: "failed", failures: 1, ...start });
  });

  it("because there is nothing to run", async () => {
    const port = await freePort();
    await using broker = await startingBroker({
      "arena.toml": berth(`udp://127.0.0.1:${port}`, 'command = ["/nowhere/server"]\n'),
    });
    const answer = new AbortController();
    once(port, "x", answer.signal).catch(() => undefined);
    const { berth: failed } = await broker.watcher.until(({ event }) => event === "failed");
    answer.abort();
    expect(failed.start).toMatchObject({ failures: 1, status: 111 });
  });
});

it.each(["udp", "tcp"])(
  "waiting for the first packet leaves a %s socket blocking, as its server expects it",
  async (kind) => {
    await using started = await startingBroker({
      "a.toml": berth(`${kind}://127.0.0.1:${await freePort()}`, selfServer),
    });
    using peer = await RawPeer.connect(started.socket);
    const { parameters } = (await peer.call("Acquire", { berth: "a" })) ?? {};
    const flags = peer.fds.map(({ fd }) => native.getfl(fd) & O_NONBLOCK);
    await peer.call("Release", { lease: parameters?.["lease"] });
    expect(flags).toEqual([0]);
  },
);

it("a server that has served, and left nothing unread, may end at once", async () => {
  const port = await freePort();
  programs.write({
    "one.py":
      "import socket\ns = socket.socket(fileno=3)\ns.setblocking(True)\nd, a = s.recvfrom(99)\ns.sendto(b'one ' + d, a)\n",
  });
  const command = `command = ["/usr/bin/python3", "-S", "${programs.path}/one.py"]\n`;
  await using broker = await startingBroker({ "arena.toml": berth(`udp://127.0.0.1:${port}`, command) });
  for (let round = 1; round <= 3; round++) {
    expect(await once(port, String(round))).toBe(`one ${round}`);
    await broker.watcher.count("changed", round);
  }
  expect(broker.watcher.names()).not.toContain("failed");
});

it("fifty that are woken at once start a few at a time", async () => {
  const names = Array.from({ length: 50 }, (_, number) => `berth${number}`);
  const ports = await Promise.all(names.map(() => freePort()));
  const program = join(programs.path, "quick.py");
  programs.write({
    "quick.py": "import socket\ns = socket.socket(fileno=3)\ns.setblocking(True)\ns.recvfrom(9)\ns.recvfrom(9)\n",
  });
  const command = `command = ["/usr/bin/python3", "-S", "${program}"]\n`;
  const files = names.map((name, at) => [`${name}.toml`, berth(`udp://127.0.0.1:${ports[at]}`, command)]);
  await using broker = await startingBroker(Object.fromEntries(files), { concurrent: 3 });
  const player = createSocket("udp4");
  for (const port of ports) player.send("x", port, "127.0.0.1");
  await broker.watcher.count("acquired", 50);
  player.close();
  let starting = 0;
  let most = 0;
  for (const event of broker.watcher.names()) {
    if (event === "starting") starting++;
    if (event === "acquired") starting--;
    most = Math.max(most, starting);
  }
  expect(most).toBe(3);
  expect(broker.watcher.names()).not.toContain("failed");
});

describe("a reload", () => {
  it("has a berth start on demand, or not, and leaves its server alone", async () => {
    const port = await freePort();
    const configuration = berth(`udp://127.0.0.1:${port}`, selfServer);
    await using broker = await startingBroker({ "arena.toml": configuration.replace('start = "on-demand"\n', "") });
    const { watcher, folder } = broker;
    const answer = once(port, "early");
    expect(broker.broker.berths[0]?.start).toBeUndefined();
    folder.write({ "config/arena.toml": configuration });
    broker.broker.reload();
    expect(await answer).toBe("echo early");
    const pid = broker.broker.berths[0]?.lease?.pid ?? 0;
    folder.write({ "config/arena.toml": configuration.replace("on-demand", "manual") });
    broker.broker.reload();
    expect(broker.broker.berths[0]?.start).toBeUndefined();
    expect(await once(port, "same")).toBe("echo same");
    process.kill(pid, "SIGKILL");
    await watcher.count("released", 1);
    const late = once(port, "late");
    folder.write({ "config/arena.toml": configuration });
    broker.broker.reload();
    expect(await late).toBe("echo late");
  });

  it("that moves a socket, or cannot, keeps waiting on those there are", async () => {
    const [port, other] = [await freePort(), await freePort()];
    await using broker = await startingBroker({ "arena.toml": berth(`udp://127.0.0.1:${port}`, selfServer) });
    const { folder } = broker;
    folder.write({ "config/arena.toml": berth("udp://192.0.2.1:9", selfServer) });
    expect(() => broker.broker.reload()).toThrow("192.0.2.1");
    folder.write({ "config/arena.toml": berth(`udp://127.0.0.1:${other}`, selfServer) });
    broker.broker.reload();
    expect(await once(other, "moved")).toBe("echo moved");
    expect(broker.watcher.names().filter((event) => event === "starting")).toHaveLength(1);
  });

  it("that removes a berth while its server runs leaves no start behind", async () => {
    const [port, other] = [await freePort(), await freePort()];
    await using broker = await startingBroker({
      "arena.toml": berth(`udp://127.0.0.1:${port}`, selfServer),
      "other.toml": berth(`udp://127.0.0.1:${other}`, selfServer),
    });
    await once(port, "x");
    const pid = broker.broker.berths[0]?.lease?.pid ?? 0;
    rmSync(join(broker.folder.path, "config/arena.toml"));
    broker.broker.reload();
    expect(broker.broker.berths.map(({ name }) => name)).toEqual(["other"]);
    process.kill(pid, "SIGKILL");
    expect(await once(other, "y")).toBe("echo y");
  });
});

it("stopped for want of traffic, it starts again at the next packet", async () => {
  const port = await freePort();
  await using broker = await startingBroker({
    "arena.toml": berth(`udp://127.0.0.1:${port}`, selfServer, 'stop-after = "3s"\n'),
  });
  const pids: (number | undefined)[] = [];
  for (let round = 1; round <= 2; round++) {
    expect(await once(port, "hello")).toBe("echo hello");
    pids.push(broker.broker.berths[0]?.lease?.pid);
    await broker.watcher.count("released", round);
  }
  expect(new Set(pids).size).toBe(2);
  expect(broker.watcher.names()).toEqual([1, 2].flatMap(() => ["starting", "acquired", "stopping", "released"]));
  expect(broker.broker.berths[0]).toMatchObject({ state: "vacant", start: { state: "waiting", failures: 0 } });
});
