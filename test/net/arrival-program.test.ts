/** The program that copies what comes on connections which nobody has accepted, on sockets of the kernel. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Taps } from "../../src/broker/demand/doorman/taps.ts";
import { type Arrival, Arrivals, bytesOf, readSegment, type Segment } from "../../src/doorman/sockets/arrivals.ts";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native, TAKE } from "../../src/native.ts";
import { MOST_DATA, RECORD, RING_BYTES } from "../../src/net/arrival-program.ts";
import {
  IPPROTO_TCP,
  POLLIN,
  SO_ATTACH_BPF,
  SO_COOKIE,
  SOL_SOCKET,
  TCP_DEFER_ACCEPT,
} from "../../src/net/socket-constants.ts";
import { needsBpf } from "../support/bpf.ts";
import { forgeSegment } from "../support/doorman/forged-segment.ts";
import { leaksNothing } from "../support/fds.ts";
import { freePort } from "../support/ports.ts";
import { boundSocket } from "../support/sockets.ts";

const PATIENCE = { timeout: 60_000, interval: 5 };

leaksNothing("soon");
const open: Disposable[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one[Symbol.dispose]();
});

interface Tapped {
  readonly port: number;
  readonly listener: FdHandle;
  readonly taps: Taps;
  /** The next segments, once there are so many. */
  readonly segments: (count: number) => Promise<Segment[]>;
}

async function tapped(host: string): Promise<Tapped> {
  const port = await freePort();
  const listener = boundSocket(`tcp://${host}:${port}`, 64);
  const taps = Taps.open([listener.fd], native);
  const [map = -1, program = -1] = taps.fds;
  const ring = new native.BpfRing(map, RING_BYTES);
  open.push(listener, taps, { [Symbol.dispose]: () => ring.close() });
  check("setsockopt", native.setsockopt(listener.fd, SOL_SOCKET, SO_ATTACH_BPF, program));
  const record = Buffer.alloc(RECORD.data + MOST_DATA);
  const segments = async (count: number): Promise<Segment[]> => {
    const found: Segment[] = [];
    await vi.waitFor(() => {
      for (let length = ring.read(record); length > 0; length = ring.read(record))
        found.push(readSegment(record.subarray(0, length)) ?? expect.unreachable());
      expect(found.length).toBeGreaterThanOrEqual(count);
    }, PATIENCE);
    return found;
  };
  return { port, listener, taps, segments };
}

async function client(port: number, host = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ port, host, noDelay: true });
  open.push({ [Symbol.dispose]: () => socket.destroy() });
  await once(socket, "connect");
  return socket;
}

const write = (socket: Socket, bytes: Uint8Array): Promise<void> =>
  new Promise((done, fail) => socket.write(bytes, (error) => (error ? fail(error) : done())));

/** All bytes of the next connection until its end, or until there are so many. */
async function accepted(listener: FdHandle, most: number): Promise<Buffer> {
  using connection = FdHandle.adopt(check("accept", native.accept(listener.fd)));
  const pieces: Buffer[] = [];
  let length = 0;
  const piece = Buffer.alloc(65_536);
  await vi.waitFor(() => {
    for (let read = native.recvbytes(connection.fd, piece, TAKE); read > 0; ) {
      pieces.push(Buffer.from(piece.subarray(0, read)));
      length += read;
      read = native.recvbytes(connection.fd, piece, TAKE);
    }
    expect(length).toBeGreaterThanOrEqual(most);
  }, PATIENCE);
  return Buffer.concat(pieces);
}

function putTogether(segments: readonly Segment[]): Buffer {
  const arrivals = new Arrivals();
  const last: Arrival | undefined = segments.map((one) => arrivals.add(one)).at(-1);
  return Buffer.from(bytesOf(last ?? expect.unreachable()));
}

describe("what comes before a connection is accepted", needsBpf(), () => {
  it.each([
    ["0.0.0.0", "127.0.0.1", "127.0.0.1"],
    ["[::]", "::1", "::1"],
    ["*", "127.0.0.1", "127.0.0.1"],
  ])("is copied, with who sent it: a socket at %s, from %s", async (host, from, seen) => {
    const { port, listener, segments } = await tapped(host);
    const socket = await client(port, from);
    await write(socket, Buffer.from("hello "));
    await write(socket, Buffer.from("world"));
    const found = await segments(2);
    expect(putTogether(found).toString()).toBe("hello world");
    expect(found[0]?.sender).toMatchObject({ host: seen, port: socket.localPort });
    using connection = FdHandle.adopt(check("accept", native.accept(listener.fd)));
    const cookie = new BigUint64Array(1);
    native.getsockopt(connection.fd, SOL_SOCKET, SO_COOKIE, new Int32Array(cookie.buffer));
    expect(new Set(found.map((one) => one.cookie))).toEqual(new Set(cookie));
  });

  it("is copied up to a limit, and nothing of a connection that says nothing", async () => {
    const { port, segments } = await tapped("127.0.0.1");
    await client(port);
    for (const length of [1, 255, 256, 257, MOST_DATA, MOST_DATA + 1, 9000]) {
      const text = Buffer.alloc(length, length & 255);
      await write(await client(port), text);
      const [found] = await segments(1);
      expect(Buffer.from(found?.data ?? []).equals(text.subarray(0, MOST_DATA))).toBe(true);
      expect(found?.isCut).toBe(length > MOST_DATA);
    }
  });

  it("is not copied if a forged segment says it, which is of no connection", async () => {
    const { port, segments } = await tapped("127.0.0.1");
    forgeSegment("127.0.0.9", port, Buffer.from("forged"));
    const socket = await client(port);
    await write(socket, Buffer.from("real"));
    expect((await segments(1)).map(({ data }) => Buffer.from(data).toString())).toEqual(["real"]);
  });

  it("is not copied of the packet that completes the handshake: with defer-accept, what the client says first", async () => {
    const { port, listener, segments } = await tapped("127.0.0.1");
    check("setsockopt", native.setsockopt(listener.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 60));
    const socket = await client(port);
    await write(socket, Buffer.from("first"));
    expect(check("poll", native.pollFor(listener.fd, POLLIN, 60_000)) & POLLIN).not.toBe(0);
    await write(socket, Buffer.from("second"));
    expect((await segments(1)).map(({ data }) => Buffer.from(data).toString())).toEqual(["second"]);
    expect(String(await accepted(listener, 11))).toBe("firstsecond");
  });

  it("comes to the server all the same, while nobody reads the ring and after it is closed", async () => {
    const { port, listener, taps } = await tapped("127.0.0.1");
    const text = Buffer.alloc(1_000_000, "0123456789");
    const first = await client(port);
    const second = await client(port);
    first.write(text);
    expect((await accepted(listener, text.length)).equals(text)).toBe(true);
    taps[Symbol.dispose]();
    second.write(text);
    expect((await accepted(listener, text.length)).equals(text)).toBe(true);
  });
});
