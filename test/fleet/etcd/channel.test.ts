/** A connection to etcd, with a server that is made up: what happens to it when its calls fail. */
import { once } from "node:events";
import { createServer, type Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CallFailed, Channel, UNAVAILABLE } from "../../../packages/fleet/src/etcd/channel.ts";

let server: Http2Server;
let endpoint: string;
/** The streams that the client has reset. */
let reset: string[];

/** Answers no watch, and every call with UNAVAILABLE, as a member that has lost its leader. */
beforeEach(async () => {
  reset = [];
  server = createServer();
  server.on("stream", (stream, { ":path": path = "" }) => {
    stream.on("error", () => undefined);
    stream.on("close", () => reset.push(path));
    if (path.endsWith("Watch")) return stream.respond({ ":status": 200, "content-type": "application/grpc" });
    stream.respond({ ":status": 200, "grpc-status": String(UNAVAILABLE) }, { endStream: true });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => server.close());

it("ends with its other streams only after what failed was read, since nghttp2 still reads", async () => {
  const channel = await Channel.open(endpoint);
  const stop = new AbortController();
  const watch = channel.stream("Watch/Watch", Buffer.alloc(1), stop.signal).next();
  let isWatching = true;
  const ended = watch.catch((error: unknown) => error).finally(() => (isWatching = false));
  const failed = await channel.call("KV/Txn", Buffer.alloc(1), 30_000).catch((error: unknown) => error);
  channel[Symbol.dispose]();
  expect(failed).toBeInstanceOf(CallFailed);
  // For all callers it is closed at once.
  expect(channel.closed).toBe(true);
  await expect(channel.call("KV/Txn", Buffer.alloc(1), 30_000)).rejects.toThrow("the connection is closed");
  await new Promise<void>((resolve) => process.nextTick(resolve));
  expect(isWatching).toBe(true);
  await ended;
  await expect.poll(() => reset.sort()).toEqual(["/etcdserverpb.KV/Txn", "/etcdserverpb.Watch/Watch"]);
});
