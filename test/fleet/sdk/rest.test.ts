/** The SDK by REST: paths and JSON as grpc-gateway gives them to servers for Agones, and what is refused. */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { Broker } from "../../../src/broker/broker.ts";
import { acquire } from "../../../src/client/acquire.ts";
import { type SdkScene, startSdk } from "../../support/fleet/sdk.ts";

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

async function ask({ http }: SdkScene, method: string, path: string, body?: unknown): Promise<Reply> {
  const response = await fetch(`http://localhost:${http}${path}`, {
    method,
    ...(body !== undefined && {
      body: typeof body === "string" ? body : JSON.stringify(body),
      headers: { "content-type": "application/json" },
    }),
  });
  return { status: response.status, body: await response.json() };
}

const ok = (body: unknown): Reply => ({ status: 200, body });
const refused = (status: number, code: number): Reply => ({
  status,
  body: { code, message: expect.any(String), details: [] },
});

describe("by REST", { timeout: 60_000 }, () => {
  it("is ready, allocated and reserved, and tells each state by /watch/gameserver", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const abort = new AbortController();
    const watch = await fetch(`http://127.0.0.1:${scene.http}/watch/gameserver`, { signal: abort.signal });
    if (watch.body === null) throw new Error("no body");
    const lines = createInterface({ input: Readable.fromWeb(watch.body) })[Symbol.asyncIterator]();
    const next = async (): Promise<string> => JSON.parse((await lines.next()).value).result.status.state;
    expect(await next()).toBe("Scheduled");
    expect(await ask(scene, "POST", "/ready", {})).toEqual(ok({}));
    expect(await next()).toBe("Ready");
    expect(scene.test.broker.berths[0]?.ready).toBe(true);
    expect(await ask(scene, "POST", "/health", "")).toEqual(ok({}));
    expect(await ask(scene, "POST", "/allocate", {})).toEqual(ok({}));
    expect(await next()).toBe("Allocated");
    expect(await ask(scene, "POST", "/reserve", { seconds: "3600" })).toEqual(ok({}));
    expect(await next()).toBe("Reserved");
    expect(await ask(scene, "POST", "/reserve", { seconds: -1 })).toEqual(refused(400, 3));
    abort.abort();
  });

  it("/gameserver has the names of the proto, and 64-bit numbers as strings", async () => {
    await using scene = await startSdk();
    await using tenancy = await acquire("arena", { socket: scene.test.socket });
    expect(await ask(scene, "PUT", "/metadata/label", { key: "map", value: "q3dm6" })).toEqual(ok({}));
    expect(await ask(scene, "PUT", "/metadata/annotation", { key: "note", value: "ü" })).toEqual(ok({}));
    const { status, body } = await ask(scene, "GET", "/gameserver");
    expect(status).toBe(200);
    expect(body).toMatchObject({
      object_meta: {
        name: "arena",
        uid: scene.test.broker.berths[0]?.lease?.id,
        resource_version: "3",
        generation: "1",
        creation_timestamp: expect.stringMatching(/^\d{10}$/),
        labels: { "agones.dev/sdk-map": "q3dm6" },
        annotations: { "agones.dev/sdk-note": "ü" },
      },
      spec: { health: { disabled: true, period_seconds: 0 } },
      status: { state: "Scheduled", address: "127.0.0.1", ports: [{ name: "game", port: expect.any(Number) }] },
    });
    await tenancy.release();
  });

  it("has players, counters and lists", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const player = "/alpha/player";
    expect(await ask(scene, "PUT", `${player}/capacity`, { count: 5 })).toEqual(ok({}));
    expect(await ask(scene, "POST", `${player}/connect`, { playerID: "a/b" })).toEqual(ok({ bool: true }));
    expect(await ask(scene, "GET", `${player}/connected`)).toEqual(ok({ list: ["a/b"] }));
    expect(await ask(scene, "GET", `${player}/connected/a%2Fb`)).toEqual(ok({ bool: true }));
    expect(await ask(scene, "GET", `${player}/count`)).toEqual(ok({ count: "1" }));
    expect(await ask(scene, "POST", `${player}/disconnect`, { playerID: "a/b" })).toEqual(ok({ bool: true }));
    const rooms = "/v1beta1/counters/rooms";
    expect(await ask(scene, "GET", rooms)).toEqual(ok({ name: "rooms", count: "0", capacity: "1000" }));
    expect(await ask(scene, "PATCH", rooms, { count: "5", capacity: "11" })).toEqual(
      ok({ name: "rooms", count: "5", capacity: "11" }),
    );
    expect(await ask(scene, "PATCH", rooms, { countDiff: "7" })).toEqual(refused(400, 11));
    const maps = "/v1beta1/lists/maps";
    expect(await ask(scene, "PATCH", maps, { capacity: "2", values: ["a", "b", "c"] })).toEqual(
      ok({ name: "maps", capacity: "2", values: ["a", "b"] }),
    );
    expect(await ask(scene, "POST", `${maps}:removeValue`, { value: "a" })).toEqual(
      ok({ name: "maps", capacity: "2", values: ["b"] }),
    );
    expect(await ask(scene, "POST", `${maps}:addValue`, { value: "b" })).toEqual(refused(409, 6));
    expect(await ask(scene, "PATCH", maps, { values: [] })).toEqual(ok({ name: "maps", capacity: "2", values: [] }));
  });

  it.each([
    ["GET", "/nothing", undefined, 404, 5],
    ["DELETE", "/ready", undefined, 501, 12],
    ["POST", "/ready", "{", 400, 3],
    ["POST", "/ready", "[]", 400, 3],
    ["PUT", "/metadata/label", { key: 7 }, 400, 3],
    ["PUT", "/metadata/label", { key: "__proto__", value: "a" }, 400, 3],
    ["GET", "/v1beta1/counters/%zz", undefined, 400, 3],
    ["GET", "/v1beta1/counters/a%00b", undefined, 400, 3],
    ["PATCH", "/v1beta1/counters/rooms", { count: 1.5 }, 400, 3],
    ["PATCH", "/v1beta1/lists/maps", { values: [1] }, 400, 3],
    ["PATCH", "/v1beta1/lists/maps", { size: 1 }, 400, 3],
    ["PUT", "/metadata/annotation", "x".repeat(70_000), 400, 3],
  ] as const)("%s %s with %j is refused, and the next call is served", async (method, path, body, status, code) => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    expect(await ask(scene, method, path, body)).toEqual(refused(status, code));
    expect(await ask(scene, "GET", "/alpha/player/count")).toEqual(ok({ count: "0" }));
  });

  it("a connection speaks for the server of its time: it is closed when that lease ends", async () => {
    await using scene = await startSdk();
    const first = await acquire("arena", { socket: scene.test.socket });
    const old = connectTcp(scene.http, "127.0.0.1");
    old.write("GET /alpha/player/count HTTP/1.1\r\nhost: a\r\n\r\n");
    const [answer] = await once(old, "data");
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
    const closed = once(old, "close");
    await first.release();
    await closed;
    await using _second = await acquire("arena", { socket: scene.test.socket });
    expect(await ask(scene, "GET", "/gameserver")).toMatchObject({
      body: { object_meta: { uid: scene.test.broker.berths[0]?.lease?.id } },
    });
  });

  it("a server that the broker does not hear is told so; the next broker hears the next server", async () => {
    await using scene = await startSdk();
    const { test } = scene;
    await acquire("arena", { socket: test.socket });
    expect(await ask(scene, "GET", "/alpha/player/count")).toEqual(ok({ count: "0" }));
    await test.broker.close();
    await scene.logged(/the broker does not answer/);
    expect(await ask(scene, "POST", "/ready", {})).toEqual(refused(503, 14));
    const log = (): void => undefined;
    const next = await Broker.start({ config: [join(test.folder.path, "config")], socket: test.socket, log });
    try {
      await using _tenancy = await acquire("arena", { socket: test.socket });
      await expect
        .poll(() => ask(scene, "POST", "/ready", {}).catch(() => undefined), { timeout: 30_000 })
        .toEqual(ok({}));
      expect(next.berths[0]?.ready).toBe(true);
    } finally {
      await next.close();
    }
  });
});
