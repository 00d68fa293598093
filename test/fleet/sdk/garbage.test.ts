/** What a server's own user can send to its ports: it is refused, and this and other servers are served on. */
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { frame } from "../../../packages/fleet/src/etcd/frames.ts";
import { Message, MessageWriter } from "../../../packages/fleet/src/etcd/protobuf.ts";
import { acquire } from "../../../src/client/acquire.ts";
import { type SdkScene, startSdk } from "../../support/fleet/sdk.ts";

afterEach(() => vi.restoreAllMocks());

/** Bytes for a method, by gRPC. Resolves with the status and what came before it. */
async function call(
  { grpc }: SdkScene,
  path: string,
  bytes: Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: unknown; answer: Buffer }> {
  const client = connectHttp2(`http://127.0.0.1:${grpc}`);
  try {
    const stream = client.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    const found: IncomingHttpHeaders[] = [];
    stream.on("response", (one) => found.push(one));
    stream.on("trailers", (one) => found.push(one));
    stream.end(bytes);
    const pieces: Buffer[] = [];
    for await (const piece of stream) if (Buffer.isBuffer(piece)) pieces.push(piece);
    const status = found.map((one) => one["grpc-status"] ?? one[":status"]).at(-1);
    return { status, answer: Buffer.concat(pieces) };
  } finally {
    client.destroy();
  }
}

const SDK = "/agones.dev.sdk.SDK";
const alive = (scene: SdkScene): Promise<unknown> =>
  fetch(`http://127.0.0.1:${scene.http}/alpha/player/count`).then((response) => response.json());

/** Waits until the other side has closed it. */
function closed(socket: Socket): Promise<void> {
  socket.on("error", () => undefined);
  socket.resume();
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once("close", () => resolve())));
}

describe("by gRPC", { timeout: 60_000 }, () => {
  it.each([
    ["no such method", `${SDK}/Explode`, frame(Buffer.alloc(0)), "12"],
    ["a compressed message", `${SDK}/SetLabel`, Buffer.from([1, 0, 0, 0, 1, 0]), "3"],
    ["a message of 4 GiB", `${SDK}/SetLabel`, Buffer.from([0, 255, 255, 255, 255, 0]), "3"],
    ["a field that is cut off", `${SDK}/SetLabel`, frame(Buffer.from([0x0a, 9, 1])), "3"],
    ["a number for a text", `${SDK}/SetLabel`, frame(Buffer.from([0x08, 9])), "3"],
    ["a group", `${SDK}/SetLabel`, frame(Buffer.from([0x0b])), "3"],
    // It would be read again and again.
    ["a negative length", `${SDK}/SetLabel`, frame(Buffer.from([0x0a, ...minus(11)])), "3"],
    ["a number beyond 2^53", `${SDK}/Reserve`, frame(new MessageWriter().number(1, 2n ** 60n).finish()), "3"],
  ])("%s is refused", async (_, path, bytes, status) => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    expect((await call(scene, path, bytes)).status).toBe(status);
    expect(await alive(scene)).toEqual({ count: "0" });
  });

  it("a request without gRPC's type is status 415", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const { status } = await call(scene, `${SDK}/Ready`, Buffer.from("{}"), { "content-type": "application/json" });
    expect(status).toBe(415);
    expect(scene.test.broker.berths[0]?.ready).toBe(false);
  });

  it("a stream of Health that comes in single bytes is one call of each message", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const client = connectHttp2(`http://127.0.0.1:${scene.grpc}`);
    const stream = client.request({ ":method": "POST", ":path": `${SDK}/Health`, "content-type": "application/grpc" });
    for (const byte of Buffer.concat([frame(Buffer.alloc(0)), frame(Buffer.alloc(0))]))
      stream.write(Buffer.from([byte]));
    const trailers = once(stream, "trailers");
    stream.resume();
    stream.end();
    expect((await trailers)[0]).toMatchObject({ "grpc-status": "0" });
    client.destroy();
  });

  it("bytes that are no HTTP/2 end that connection", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const socket = connectTcp(scene.grpc, "127.0.0.1");
    socket.write(Buffer.alloc(4096, "x"));
    await closed(socket);
    expect(await alive(scene)).toEqual({ count: "0" });
  });
});

describe("by REST", { timeout: 60_000 }, () => {
  it("a client that goes in the middle of its request leaves nothing, and is no defect", async () => {
    const complained = vi.spyOn(console, "error");
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    for (let times = 0; times < 20; times++) {
      const socket = connectTcp(scene.http, "127.0.0.1");
      await once(socket, "connect");
      socket.write("POST /ready HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{");
      expect(await alive(scene)).toEqual({ count: "0" }); // it has been read by then, mostly
      socket.resetAndDestroy();
    }
    expect(await alive(scene)).toEqual({ count: "0" });
    expect(complained.mock.calls).toEqual([]);
    expect(scene.test.broker.berths[0]?.ready).toBe(false);
  });

  it("bytes that are no HTTP end that connection", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const socket = connectTcp(scene.http, "127.0.0.1");
    socket.write("\0\0\0\0\r\n\r\n");
    await closed(socket);
    expect(await alive(scene)).toEqual({ count: "0" });
  });

  it("watches end at the limit with 429, and the others go on", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const abort = new AbortController();
    const { signal } = abort;
    const watch = (): Promise<Response> => fetch(`http://127.0.0.1:${scene.http}/watch/gameserver`, { signal });
    // A response that nothing refers to is collected, and its connection closed.
    const open: Response[] = [];
    for (let number = 0; number < 32; number++) open.push(await watch());
    expect((await watch()).status).toBe(429);
    expect(open.map(({ status }) => status)).toEqual(new Array<number>(32).fill(200));
    expect(await alive(scene)).toEqual({ count: "0" });
    abort.abort();
    // Their places are free again.
    await expect
      .poll(() => fetch(`http://127.0.0.1:${scene.http}/watch/gameserver`).then(({ status }) => status), {
        timeout: 30_000,
      })
      .toBe(200);
  });
});

it("a message with a negative length is malformed: it ends", () => {
  expect(() => new Message(Buffer.from([0x0a, ...minus(11)]))).toThrow("negative length");
});

/** A number below zero as a varint: ten bytes. */
function minus(number: number): Buffer {
  return new MessageWriter().number(1, -number).finish().subarray(1);
}
