/** Lines for consoles, which a tenant may serve itself. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import type { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { Typist } from "../../../src/broker/drain/typist.ts";
import { native } from "../../../src/native.ts";
import { TestFolder } from "../../support/broker.ts";

afterEach(() => vi.useRealTimers());

const lease = (): Pick<Lease, "tenant"> => ({ tenant: { pid: 1, uid: 1234, unit: undefined } });

it("types lines on a tenant's console by one connection, reads nothing, and has a guard close it", async () => {
  using folder = new TestFolder();
  const path = join(folder.path, "console");
  const server = createServer().listen(path);
  await once(server, "listening");
  const closed: [unknown, number][] = [];
  const guard = { close: (owner: unknown, fd: number) => void closed.push([owner, native.close(fd)]) };
  const typist = new Typist({ sys: native, guard });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const [one, other] = [lease(), lease()];
  const accepted = once(server, "connection") as Promise<[Socket]>;
  expect(typist.type(one, path, "say bye")).toBeUndefined();
  const [console] = await accepted;
  const [typed] = (await once(console, "data")) as [Buffer];
  expect(typed.toString("latin1")).toContain("say bye\r");
  vi.advanceTimersByTime(4000);
  const more = once(console, "data") as Promise<[Buffer]>;
  expect(typist.type(one, path, "say again")).toBeUndefined();
  expect((await more)[0].toString("latin1")).toContain("say again\r");
  expect(typist.type(other, path, "hello")).toBeUndefined();
  expect(closed).toEqual([]);
  console.on("error", () => undefined).write(Buffer.alloc(100_000));
  vi.advanceTimersByTime(5000);
  expect(closed).toEqual([
    [1234, 0],
    [1234, 0],
  ]);
  expect(typist.type(one, path, "later")).toBeUndefined();
  typist.close();
  expect(closed).toHaveLength(3);
  console.destroy();
  server.close();
});

it("ends the connection when a console no longer takes lines", async () => {
  using folder = new TestFolder();
  const path = join(folder.path, "console");
  const server = createServer({ pauseOnConnect: true }).listen(path);
  await once(server, "listening");
  const closed: number[] = [];
  const typist = new Typist({ sys: native, guard: { close: (_, fd) => void closed.push(native.close(fd)) } });
  const full = lease();
  const line = "x".repeat(4000);
  const typed: (string | undefined)[] = [];
  for (let lines = 0; lines < 1000 && typed.at(-1) === undefined; lines++) typed.push(typist.type(full, path, line));
  expect(typed.length).toBeGreaterThan(1);
  expect(typed.at(-1)).toMatch(/EAGAIN|a part of the line only/);
  expect(closed).toEqual([0]);
  server.close();
});

it("says why a line cannot be typed, and keeps no connection", async () => {
  using folder = new TestFolder();
  const closed: number[] = [];
  const typist = new Typist({ sys: native, guard: { close: (_, fd) => void closed.push(native.close(fd)) } });
  expect(typist.type(lease(), join(folder.path, "none"), "x")).toMatch(/^connect .*: ENOENT/);
  expect(closed).toEqual([0]);
});
