/** Clients that do not read what they asked for: the server and its streams themselves, with short limits. */
import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { expect, it } from "vitest";
import { Body, jsonAnswer } from "../../packages/web/src/http/answer.ts";
import { limits as usual } from "../../packages/web/src/http/limits.ts";
import { httpServer, type Routes } from "../../packages/web/src/http/server.ts";
import { Streams } from "../../packages/web/src/http/streams.ts";

const limits = { ...usual, idleMs: 3000, answerMs: 600, unreadBytes: 64 * 1024 };
/** More than the buffers of a connection on loopback take. */
const large = new Body(Buffer.alloc(32 * 1024 * 1024, "x"));
const small = new Body(Buffer.from('"small"'));

interface Served extends Disposable {
  readonly port: number;
  readonly streams: Streams;
}

async function serve(pingMs: number = limits.pingMs, first = "{}", answerMs = limits.answerMs): Promise<Served> {
  const streams = new Streams({ ...limits, pingMs, answerMs });
  const routes: Routes = {
    isPublic: () => true,
    answer: async (path) => jsonAnswer(path === "/large" ? large : small),
    stream: (path, response, address) =>
      path === "/events" && streams.add(response, address, () => streams.event("state", first)),
  };
  const server: Server = httpServer({ hostNames: [], token: undefined, limits }, routes, undefined);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const dispose = (): void => {
    streams.close();
    server.close();
    server.closeAllConnections();
  };
  return { port: (server.address() as AddressInfo).port, streams, [Symbol.dispose]: dispose };
}

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

/** A connection that reads nothing until told to. */
async function open(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

it.each([1, 2, 3])("a client that does not read answer %i of its connection is closed", async (which) => {
  using served = await serve();
  const socket = await open(served.port);
  for (let before = 1; before < which; before++) {
    socket.write(get("/small"));
    await once(socket, "data");
  }
  socket.pause();
  socket.write(get("/large"));
  await expect
    .poll(
      async () => {
        // It is noticed only by a client that tries to go on.
        socket.write(get("/small"));
        return socket.destroyed || socket.closed || socket.errored !== null;
      },
      { timeout: 30_000, interval: 100 },
    )
    .toBe(true);
});

it("a connection has one stream: others behind it would be kept in memory, and read by nobody", async () => {
  using served = await serve();
  const socket = await open(served.port);
  socket.write(get("/events").repeat(20));
  await once(socket, "data");
  expect(served.streams.count).toBe(1);
  served.streams.send("patch", "x");
  await once(socket, "data");
  expect(served.streams.count).toBe(1);
  socket.destroy();
  await expect.poll(() => served.streams.count).toBe(0);
});

it("a stream that nobody reads is dropped", async () => {
  using served = await serve();
  const socket = await open(served.port);
  socket.write(get("/events"));
  await once(socket, "data");
  socket.pause();
  await expect
    .poll(
      () => {
        served.streams.send("patch", "x".repeat(1024 * 1024));
        return served.streams.count;
      },
      { timeout: 30_000, interval: 10 },
    )
    .toBe(0);
  socket.destroy();
});

it("a stream on which nothing happens has pings, which a page can hear", async () => {
  using served = await serve(50);
  const socket = await open(served.port);
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
  });
  socket.write(get("/events"));
  await expect.poll(() => text.match(/^event: ping$/gm)?.length ?? 0, { timeout: 30_000 }).toBeGreaterThan(1);
  expect(text).toMatch(/event: state\n[\s\S]*event: ping\ndata: \{"at":\d{13}\}\n/);
  socket.destroy();
});

/** More than may wait for a stream, and than the buffers of a connection take. */
const longFirst = "x".repeat(16 * 1024 * 1024);

it("a stream whose first event is long is not closed while its client reads that", async () => {
  using served = await serve(20, longFirst, usual.answerMs);
  const socket = await open(served.port);
  let read = 0;
  socket.on("data", (chunk) => {
    read += chunk.length;
    socket.pause();
    setTimeout(() => socket.resume(), 1);
  });
  socket.write(get("/events"));
  await expect.poll(() => read, { timeout: 30_000 }).toBeGreaterThan(longFirst.length);
  expect(served.streams.count).toBe(1);
});

it("a stream whose first event nobody reads is closed", async () => {
  using served = await serve(limits.pingMs, longFirst);
  const socket = await open(served.port);
  socket.pause();
  socket.write(get("/events"));
  await expect.poll(() => served.streams.count).toBe(1);
  await expect.poll(() => served.streams.count, { timeout: 30_000 }).toBe(0);
});
