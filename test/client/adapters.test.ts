import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { dgramSocket, netServer } from "../../src/client/adapters.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { AF_INET } from "../../src/net/address.ts";
import { SOCK_DGRAM } from "../../src/net/transport.ts";
import { TestFolder } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { boundSocket, memfd, socketPair } from "../support/sockets.ts";

leaksNothing("soon");
const held: FdHandle[] = [];
const keep = (handle: FdHandle): FdHandle => {
  held.push(handle);
  return handle;
};

afterEach(() => {
  for (const handle of held.splice(0)) handle.close();
});

/** The backlog of a listening TCP socket, as ss(8) shows it. */
function backlog(port: number): number {
  const line = execFileSync("ss", ["-Hltn", `sport = :${port}`], { encoding: "utf8" }).trim();
  return Number(line.split(/\s+/)[2]);
}

const mismatch = (what: string): unknown =>
  expect.objectContaining({ code: "DESCRIPTOR_MISMATCH", message: expect.stringContaining(what) });

describe("netServer", () => {
  it.each(["tcp://127.0.0.1:0", "tcp://[::1]:0"])(
    "serves on %s; closing it leaves the berth's socket open",
    async (at) => {
      const socket = keep(boundSocket(at, 16));
      const server = netServer(socket, "game", native);
      server.on("connection", (player) => player.end("hello"));
      await once(server, "listening");
      const { port, address } = server.address() as AddressInfo;
      const [text] = await once(connect({ port, host: address }), "data");
      expect(text.toString()).toBe("hello");
      server.close();
      await once(server, "close");
      const again = netServer(socket, "game", native);
      again.on("connection", (player) => player.end("again"));
      const [second] = await once(connect({ port, host: address }), "data");
      expect(second.toString()).toBe("again");
      again.close();
      await once(again, "close");
    },
  );

  it("serves on a UNIX socket", async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "game");
    const socket = keep(boundSocket(`unix://${path}`, 16));
    const server = netServer(socket, "game", native);
    server.on("connection", (player) => player.end("hello"));
    const [text] = await once(connect({ path }), "data");
    expect(text.toString()).toBe("hello");
    server.close();
    await once(server, "close");
  });

  it("undoes the backlog of 511 with which Node listens again (hazard 21)", needs("ss"), async () => {
    const somaxconn = Number(readFileSync("/proc/sys/net/core/somaxconn", "utf8"));
    const socket = keep(boundSocket("tcp://127.0.0.1:0", 4096));
    const server = netServer(socket, "game", native);
    await once(server, "listening");
    expect(backlog((server.address() as AddressInfo).port)).toBe(Math.min(4096, somaxconn));
    server.close();
    await once(server, "close");
  });

  it("refuses what Node would take for a listening socket, and says what it is not (hazard 21)", () => {
    const pair = socketPair().map(keep);
    const closed = memfd();
    closed.close();
    const attempt = (handle: FdHandle) => () => netServer(handle, "game", native);
    expect(attempt(keep(boundSocket("tcp://127.0.0.1:0")))).toThrow(mismatch("not a listening stream socket"));
    expect(attempt(keep(boundSocket("udp://127.0.0.1:0")))).toThrow(mismatch("use dgram()"));
    expect(attempt(keep(boundSocket(`unix-seqpacket://@berthd-seq-${process.pid}`, 1)))).toThrow(mismatch("stream"));
    for (const end of pair) expect(attempt(end)).toThrow(mismatch("not a listening stream socket"));
    expect(attempt(keep(memfd()))).toThrow(mismatch("not a socket"));
    expect(attempt(closed)).toThrow(expect.objectContaining({ code: "DESCRIPTOR_CLOSED" }));
  });
});

describe("dgramSocket", () => {
  it.each([
    ["udp://127.0.0.1:0", "udp4", "127.0.0.1"],
    ["udp://[::1]:0", "udp6", "::1"],
  ] as const)("receives and answers on %s, and closing it leaves the berth's socket open", async (at, family, host) => {
    const socket = keep(boundSocket(at));
    const server = dgramSocket(socket, "game", native);
    server.on("message", (message, { port, address }) => server.send(`echo ${message}`, port, address));
    const player = createSocket(family);
    const { port } = server.address();
    player.send("hi", port, host);
    const [answer] = await once(player, "message");
    expect(answer.toString()).toBe("echo hi");
    player.close();
    server.close();
    await once(server, "close");
    expect(native.getfd(socket.fd)).toBe(1);
  });

  it("refuses what Node would take for a UDP socket, and says what it is not (hazard 22)", () => {
    const attempt = (handle: FdHandle) => () => dgramSocket(handle, "game", native);
    expect(attempt(keep(boundSocket("tcp://127.0.0.1:0", 1)))).toThrow(mismatch("use net()"));
    expect(attempt(keep(boundSocket(`unix-dgram://@berthd-dgram-${process.pid}`)))).toThrow(mismatch("use fd()"));
    expect(attempt(keep(FdHandle.adopt(native.socket(AF_INET, SOCK_DGRAM, 0))))).toThrow(mismatch("bound to a port"));
    expect(attempt(keep(memfd()))).toThrow(mismatch("not a socket"));
  });
});
