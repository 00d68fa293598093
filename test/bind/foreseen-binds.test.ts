/** Binds whose answer is given before they are made: the first one of each held socket, by a socket that is as new. */
import { readdirSync, readlinkSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Guard } from "../../src/broker/guard/guard.ts";
import { native } from "../../src/native.ts";
import { AF_INET } from "../../src/net/address.ts";
import { SOL_SOCKET } from "../../src/net/socket-constants.ts";
import { socketOption } from "../../src/net/socket-queries.ts";
import { SOCK_DGRAM } from "../../src/net/transport.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";
import { inject } from "../support/inject.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, inodesAt, readersOf } from "./harness.ts";
import { Foreseeing, serve, Told } from "./told-server.ts";

const SO_BROADCAST = 6;
const SO_RCVBUF = 8;

leaksNothing("soon");

function boundOf({ log }: TestBroker): (string | undefined)[] {
  return log.filter(({ event }) => event === "bound").map(({ address }) => String(address));
}

/** SO_RCVBUF of a new socket. */
function defaultReceive(): number {
  const fd = native.socket(AF_INET, SOCK_DGRAM, 0);
  const value = socketOption(fd, SOL_SOCKET, SO_RCVBUF, native);
  native.close(fd);
  return value;
}

/** Where this process has that socket. */
function ownNumberOf(inode: string | undefined): number {
  const fds = readdirSync("/proc/self/fd").filter((fd) => linkOf(fd) === `socket:[${inode}]`);
  return Number(fds[0] ?? -1);
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ""; // the folder's own
  }
}

describe("the first bind of a held socket", needs("root"), () => {
  it("is answered while the broker's event loop does something else, and logged afterwards", async () => {
    const foreseeing = new Foreseeing();
    const port = await freePort();
    const listen = [`udp://127.0.0.1:${port}`, `tcp://127.0.0.1:${port}`, `udp://[::1]:${port}`, `tcp://[::1]:${port}`];
    await using broker = await startBroker({ "game.toml": berth({ game: listen }) }, { sys: foreseeing.sys });
    await using server = new Told(broker);
    await server.begins();
    await foreseeing.has(12);
    const asked = [`udp 127.0.0.1 ${port}`, `tcp 0.0.0.0 ${port}`, `udp ::1 ${port}`, `tcp :: ${port} only nonblock`];
    const held = (["udp", "tcp", "udp6", "tcp6"] as const).flatMap((protocol) => inodesAt(protocol, port));
    expect(asked.map((one) => server.ask(one))).toEqual(held);
    expect(boundOf(broker)).toEqual([]);
    await expect.poll(() => boundOf(broker)).toEqual(listen);
  });

  it("carries over what the server has set, without the event loop, and takes it back afterwards", async () => {
    const foreseeing = new Foreseeing();
    const port = await freePort();
    const files = { "game.toml": berth({ game: [`udp://127.0.0.1:${port}`, `tcp://127.0.0.1:${port}`] }) };
    await using broker = await startBroker(files, { sys: foreseeing.sys });
    const [udp] = inodesAt("udp", port);
    const [tcp] = inodesAt("tcp", port);
    const set = "broadcast receive=70000 ttl=9 nonblock reuse";
    const seen: string[] = [];
    {
      await using server = new Told(broker);
      await server.begins();
      await foreseeing.has(4);
      expect(server.ask(`udp 127.0.0.1 ${port} ${set}`)).toBe(udp);
      seen.push(server.ask("see"));
      expect(server.ask(`tcp 0.0.0.0 ${port} nonblock`)).toBe(tcp);
      seen.push(server.ask("see"));
      expect(boundOf(broker)).toEqual([]);
    }
    {
      await using server = new Told(broker);
      await server.begins();
      expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe(udp);
      seen.push(await server.answers("see"));
    }
    expect(seen).toEqual([
      "broadcast=1 nonblock=1 receive=140000 ttl=9",
      expect.stringMatching(/^broadcast=0 nonblock=1 receive=\d+ ttl=64$/),
      `broadcast=0 nonblock=0 receive=${defaultReceive()} ttl=64`,
    ]);
    expect(broker.log.filter(({ message }) => message.includes("changed by the server"))).toEqual([]);
  });

  it("fails no bind where the process that carries over gets no processor for a while", needs("strace"), async () => {
    await using served = await serve();
    const { server, port, held } = served;
    await served.begins();
    const [reader = 0] = readersOf(process.pid);
    const end = await inject(reader, "setsockopt", "delay_enter=400000:when=1");
    expect(await server.answers(`udp 127.0.0.1 ${port} broadcast`)).toBe(held);
    await end();
    expect(await server.answers("see")).toContain("broadcast=1");
  });

  it("counts nothing as set that only a sysctl has changed since", async () => {
    const foreseeing = new Foreseeing();
    foreseeing.wrong = { is: defaultReceive(), expected: 4096 };
    const port = await freePort();
    const files = { "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }, "", 'receive-buffer = "50K"') };
    await using broker = await startBroker(files, { sys: foreseeing.sys });
    await using server = new Told(broker);
    await server.begins();
    await foreseeing.has(2);
    expect(await server.answers(`udp 127.0.0.1 ${port} broadcast`)).toBe(inodesAt("udp", port)[0]);
    expect(await server.answers("see")).toBe("broadcast=1 nonblock=0 receive=102400 ttl=64");
  });

  it("shares its address as its server wants it shared", async () => {
    await using served = await serve();
    const { server, port, held } = served;
    await served.begins();
    expect(server.ask(`udp 127.0.0.1 ${port} reuse`)).toBe(held);
    const second = await server.answers(`udp 127.0.0.1 ${port} reuse`);
    expect(inodesAt("udp", port).toSorted()).toEqual([held, second].toSorted());
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe("EADDRINUSE");
  });

  it("is set right only after the thread has set on it what a server had set whose lease has ended", async () => {
    const foreseeing = new Foreseeing();
    const port = await freePort();
    await using broker = await startBroker(
      { "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) },
      { sys: foreseeing.sys },
    );
    const broadcast = (): number => {
      const fd = ownNumberOf(inodesAt("udp", port)[0]);
      return socketOption(fd, SOL_SOCKET, SO_BROADCAST, native);
    };
    {
      await using server = new Told(broker);
      await server.begins();
      await foreseeing.has(2);
      foreseeing.isChanging = true;
      expect(await server.answers(`udp 127.0.0.1 ${port} broadcast`)).toBe(inodesAt("udp", port)[0]);
    }
    await expect.poll(() => broker.log.some(({ event }) => event === "released")).toBe(true);
    const { asked } = foreseeing;
    await expect.poll(() => foreseeing.asked).toBeGreaterThan(asked + 20);
    expect(broadcast()).toBe(1);
    foreseeing.isChanging = false;
    await expect.poll(broadcast).toBe(0);
  });

  it("is answered as without that where the server has the socket already", async () => {
    await using served = await serve();
    const { broker, server, port, held } = served;
    await served.begins();
    expect(await server.answers(`udp 0.0.0.0 ${port}`)).toBe(held);
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe("EADDRINUSE");
    expect(boundOf(broker)).toEqual([`udp://127.0.0.1:${port}`]);
  });

  it("needs no guard process that says what another socket is", async () => {
    const foreseeing = new Foreseeing();
    const asked: unknown[] = [];
    class Counting extends Guard {
      override run(...question: Parameters<Guard["run"]>): ReturnType<Guard["run"]> {
        asked.push(question[0]);
        return super.run(...question);
      }
    }
    using guard = new Counting({ sys: foreseeing.sys, log: () => undefined });
    const port = await freePort();
    const files = { "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) };
    await using broker = await startBroker(files, { guard });
    await using server = new Told(broker);
    await server.begins();
    await foreseeing.has(2);
    expect(await server.answers(`udp 127.0.0.1 ${port} ttl=9`)).toBe(inodesAt("udp", port)[0]);
    const before = asked.length;
    expect(await server.answers(`udp 127.0.0.1 ${port} nonblock`)).toBe("EADDRINUSE");
    expect(await server.answers("udp 127.0.0.1 9")).toBe("EACCES");
    expect(asked.slice(before)).toEqual([]);
  });

  it("gets what the berth has after a reload", async () => {
    const foreseeing = new Foreseeing();
    const [former, port] = [await freePort(), await freePort()];
    const text = (at: number): string => berth({ game: [`udp://127.0.0.1:${at}`] });
    await using broker = await startBroker({ "game.toml": text(former) }, { sys: foreseeing.sys });
    await using server = new Told(broker);
    await server.begins();
    await foreseeing.has(2);
    writeFileSync(join(broker.folder.path, "config/game.toml"), text(port));
    broker.broker.reload();
    await foreseeing.has(4);
    expect(server.ask(`udp 127.0.0.1 ${port}`)).toBe(inodesAt("udp", port)[0]);
    expect(await server.answers(`udp 127.0.0.1 ${former}`)).toBe("EACCES");
  });

  it("costs nothing more for each STATUS= of the server", async () => {
    await using served = await serve();
    const { foreseeing, broker, server, port, held } = served;
    await served.begins();
    const { forgets } = foreseeing;
    expect(await server.answers("status playing")).toBe("sent");
    await expect.poll(() => broker.broker.berths[0]?.status).toBe("playing");
    expect(foreseeing.forgets).toBe(forgets);
    expect(server.ask(`udp 127.0.0.1 ${port}`)).toBe(held);
  });

  it("gets nothing that its berth, which was removed, has no more: another berth has got it", async () => {
    const foreseeing = new Foreseeing();
    const [port, kept] = [await freePort(), await freePort()];
    const listen = [port, kept].map((at) => `udp://127.0.0.1:${at}`);
    await using broker = await startBroker({ "game.toml": berth({ game: listen }) }, { sys: foreseeing.sys });
    await using server = new Told(broker);
    await server.begins();
    await foreseeing.has(4);
    const config = join(broker.folder.path, "config");
    const [held] = inodesAt("udp", port);
    renameSync(join(config, "game.toml"), join(broker.folder.path, "former"));
    broker.broker.reload();
    await foreseeing.has(8);
    writeFileSync(join(config, "other.toml"), berth({ game: [`udp://127.0.0.1:${port}`] }));
    broker.broker.reload();
    expect(inodesAt("udp", port)).toEqual([held]);
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe("EACCES");
    expect(await server.answers(`udp 127.0.0.1 ${kept}`)).toBe(inodesAt("udp", kept)[0]);
  });

  it("gets nothing once the lease has ended", async () => {
    await using served = await serve('lease = "process"');
    const { broker, server, port } = served;
    await served.begins();
    expect(await server.answers("leave")).toBe("left");
    await expect.poll(() => broker.log.some(({ event }) => event === "released")).toBe(true);
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe("EACCES");
    expect(boundOf(broker)).toEqual([]);
  });
});
