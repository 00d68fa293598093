/** A doorman answers for a sleeping server: scans and queries start nothing, and a join does. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import {
  ask,
  asleep,
  berth,
  client,
  doormen,
  getstatus,
  join3,
  PATIENCE,
  ping,
  ready,
  send,
  status,
  talk,
} from "../../support/doorman/doors.ts";
import { joins } from "../../support/doorman/scans.ts";
import { handshake, login, PING, REQUEST } from "../../support/doorman/streams.ts";
import { leaksNothing, openFds } from "../../support/fds.ts";
import { isRoot } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { isThere, startingBroker } from "../../support/starting-broker.ts";

leaksNothing("soon");

describe("a doorman", () => {
  it("is there only while a berth asks for one, and ends with the broker", async () => {
    const port = await freePort();
    let pid = 0;
    {
      await using broker = await startingBroker({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
      pid = await ready();
      expect(broker.watcher.names()).toEqual([]);
    }
    await vi.waitFor(() => expect(isThere(pid)).toBe(false), PATIENCE);
    await using broker = await startingBroker({ "arena.toml": berth([`udp://127.0.0.1:${port}`], "") });
    expect(broker.broker.berths[0]).toMatchObject({ start: { state: "waiting" } });
    expect(doormen()).toEqual([]);
  });

  it("is one for many berths of a user, without any right, and takes no time while nothing comes", async () => {
    const ports = await Promise.all(Array.from({ length: 5 }, () => freePort()));
    const files = ports.map((port, at) => [`arena${at}.toml`, berth([`udp://127.0.0.1:${port}`], asleep)] as const);
    await using broker = await startingBroker(Object.fromEntries(files));
    const pid = await ready();
    expect(status(pid)).toMatch(/^CapPrm:\t0+$/m);
    expect(status(pid)).toMatch(/^NoNewPrivs:\t1$/m);
    if (isRoot) expect(openFds(pid).filter((fd) => fd.includes("io_uring"))).toEqual([]);
    if (isRoot) expect(status(pid)).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
    for (const port of ports) expect(await ask(port, getstatus)).toContain("\\sv_hostname\\Frozen Lake\\");
    expect(broker.watcher.names()).toEqual([]);
  });

  it.each(["udp", "tcp"])("minecraft: a join by %s wakes a berth that has both", async (by) => {
    const port = await freePort();
    const listen = [`tcp://127.0.0.1:${port}`, `udp://127.0.0.1:${port}`];
    const more = 'asleep = "minecraft"\nasleep-as = { name = "Frozen Lake", slots = 12 }\n';
    await using broker = await startingBroker({ "world.toml": berth(listen, more) });
    expect(await ask(port, ping)).toContain(";Frozen Lake;");
    const status = await talk(port, Buffer.concat([handshake(1), REQUEST, PING]));
    expect(status).toContain('"max":12,"online":0');
    expect(broker.watcher.names()).toEqual([]);
    if (by === "udp") {
      const udp = await client(port);
      await send(udp, joins["Bedrock"]?.bytes ?? expect.unreachable());
      await broker.watcher.count("starting", 1);
      udp.close();
    } else {
      const said = await talk(port, Buffer.concat([handshake(2), login("Steve")]));
      expect(said).toContain("Frozen Lake is starting; join again in a few seconds");
      await broker.watcher.count("starting", 1);
    }
    await broker.watcher.count("acquired", 1);
  });

  it("minecraft: what a client says may come byte by byte", async () => {
    const port = await freePort();
    const more = 'asleep = "minecraft"\nasleep-as = { name = "Frozen Lake", slots = 12 }\n';
    await using broker = await startingBroker({ "world.toml": berth([`tcp://127.0.0.1:${port}`], more) });
    const slowly = async (bytes: Buffer): Promise<string> => {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      let said = "";
      socket.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      const closed = once(socket, "close");
      for (const byte of bytes) {
        socket.write(Buffer.of(byte));
        await setTimeout(5);
      }
      await closed;
      return said;
    };
    expect(await slowly(Buffer.concat([handshake(1), REQUEST, PING]))).toContain('"max":12,"online":0');
    expect(await slowly(Buffer.concat([handshake(2), login("Steve")]))).toContain("Frozen Lake is starting");
    await broker.watcher.count("acquired", 1);
  });

  it("minecraft: a player from elsewhere is told that only known ones wake the server, and wakes nothing", async () => {
    const port = await freePort();
    const more = 'asleep = "minecraft"\nwake = "known-address"\nknown-networks = ["192.0.2.0/24"]\n';
    await using broker = await startingBroker({ "world.toml": berth([`tcp://127.0.0.1:${port}`], more) });
    const said = await talk(port, Buffer.concat([handshake(2), login("Steve")]));
    expect(said).toContain("only players that it knows wake it");
    expect(await talk(port, Buffer.concat([handshake(1), REQUEST, PING]))).toContain('"online":0');
    expect(broker.watcher.names()).toEqual([]);
  });

  it("minecraft: connections that say nothing keep nobody out", async () => {
    const port = await freePort();
    await using broker = await startingBroker({
      "world.toml": berth([`tcp://127.0.0.1:${port}`], 'asleep = "minecraft"\n'),
    });
    const silent: Socket[] = [];
    try {
      for (let n = 0; n < 100; n++) {
        const socket = connect(port, "127.0.0.1").on("error", () => undefined);
        silent.push(socket);
        await once(socket, "connect");
      }
      expect(await talk(port, Buffer.concat([handshake(1), REQUEST, PING]))).toContain('"online":0');
      // Those of one network that are older than the last eight were ended.
      await vi.waitFor(() => expect(silent.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(8), PATIENCE);
      expect(broker.watcher.names()).toEqual([]);
    } finally {
      for (const socket of silent) socket.destroy();
    }
  });

  it("that is killed is replaced, and meanwhile any packet starts the server", async () => {
    const port = await freePort();
    await using broker = await startingBroker({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
    const pid = await ready();
    process.kill(pid, "SIGKILL");
    await vi.waitFor(() => expect(broker.log.some(({ event }) => event === "doorman")).toBe(true), PATIENCE);
    const next = await ready();
    expect(next).not.toBe(pid);
    expect(await ask(port, getstatus)).toContain("\\sv_hostname\\Frozen Lake\\");
    expect(broker.watcher.names()).toEqual([]);
    process.kill(next, "SIGKILL");
    await vi.waitFor(() => expect(doormen()).toEqual([]), PATIENCE);
    const udp = await client(port);
    await send(udp, Buffer.from("anything"));
    await broker.watcher.count("acquired", 1);
    udp.close();
  });

  it("lets only known addresses wake a server, and drops the joins of others", async () => {
    const port = await freePort();
    const known = `${asleep}wake = "known-address"\nknown-networks = `;
    await using broker = await startingBroker({
      "arena.toml": berth([`udp://127.0.0.1:${port}`], `${known}["192.0.2.0/24"]\n`),
    });
    await ready();
    const udp = await client(port);
    for (let n = 0; n < 100; n++) await send(udp, join3);
    expect(await ask(port, getstatus)).toContain("Frozen Lake");
    expect(broker.watcher.names()).toEqual([]);
    broker.folder.write({ "config/arena.toml": berth([`udp://127.0.0.1:${port}`], `${known}["127.0.0.0/8"]\n`) });
    await broker.broker.reload();
    // Until the doorman has the new list, it drops the join by the old one. A client sends it again, too.
    const again = setInterval(() => udp.send(join3), 200);
    await broker.watcher.count("acquired", 1);
    clearInterval(again);
    udp.close();
  });

  it("drops a join that has waited too long, and does not start the server for it", async () => {
    const port = await freePort();
    await using broker = await startingBroker({
      "arena.toml": berth([`udp://127.0.0.1:${port}`], `${asleep}discard-after = "1s"\n`),
    });
    const pid = await ready();
    expect(await ask(port, getstatus)).toContain("Frozen Lake");
    process.kill(pid, "SIGSTOP");
    await vi.waitFor(() => expect(status(pid)).toMatch(/^State:\tT/m), PATIENCE); // a signal takes its time
    const udp = await client(port);
    await send(udp, join3);
    const sent = Date.now();
    await expect.poll(() => Date.now() - sent).toBeGreaterThan(1000);
    process.kill(pid, "SIGCONT");
    expect(await ask(port, getstatus)).toContain("Frozen Lake");
    expect(broker.watcher.names()).toEqual([]);
    udp.close();
  });
});
