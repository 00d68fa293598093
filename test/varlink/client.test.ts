import { getEventListeners } from "node:events";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { VarlinkClient } from "../../src/varlink/client.ts";
import { Wire } from "../../src/wire.ts";
import { FakeConnection } from "../support/fake-service.ts";
import { leaksNothing, openFds } from "../support/fds.ts";
import { fileOf, memfd, socketPair } from "../support/sockets.ts";

leaksNothing("soon");
let client: VarlinkClient;
let service: FakeConnection;
let file: FdHandle;

beforeEach(() => {
  const [ours, theirs] = socketPair();
  client = new VarlinkClient(ours);
  service = new FakeConnection(theirs);
  file = memfd();
});

afterEach(() => {
  client.close();
  service.wire.close();
  file.close();
});

describe("call", () => {
  it("pipelines: replies go to the calls in order, each with its fds", async () => {
    const calls = [0, 1, 2].map((at) => client.call(`a.b.M${at}`, { at }));
    await service.until(() => service.calls.length === 3);
    expect(service.calls).toEqual([0, 1, 2].map((at) => ({ method: `a.b.M${at}`, parameters: { at } })));
    service.reply({ parameters: { n: 0 } });
    service.reply({ parameters: { n: 1 } }, [file]);
    service.reply({});
    const replies = await Promise.all(calls);
    expect(replies.map(({ parameters }) => parameters)).toEqual([{ n: 0 }, { n: 1 }, {}]);
    expect(replies.map(({ fds }) => fds.map(fileOf))).toEqual([[], [fileOf(file)], []]);
    for (const reply of replies) reply[Symbol.dispose]();
  });

  it("sends fds with the call, borrowed", async () => {
    void client.call("a.b.C", {}, { fds: [file, file] }).catch(() => undefined);
    await service.until(() => service.calls.length === 1);
    expect([service.fdCounts, file.open]).toEqual([[2], true]);
  });

  it("throws RefusedError for an error reply, closes its fds, and the connection goes on", async () => {
    const refused = client.call("a.b.C");
    const fine = client.call("a.b.D");
    await service.until(() => service.calls.length === 2);
    service.reply({ error: "a.b.No", parameters: { message: "not today", x: 1 } }, [file]);
    service.reply({ parameters: {} });
    await expect(refused).rejects.toMatchObject({
      code: "REFUSED",
      error: "a.b.No",
      message: "not today",
      parameters: { x: 1 },
    });
    await fine;
  });

  it("given up while waiting: its reply comes later, its fds are closed, and the next call gets its own", async () => {
    const controller = new AbortController();
    const given = client.call("a.b.Slow", {}, { signal: controller.signal });
    await service.until(() => service.calls.length === 1);
    controller.abort(new Error("too slow"));
    await expect(given).rejects.toThrow("too slow");
    const next = client.call("a.b.Next");
    service.reply({ parameters: { late: true } }, [file]);
    service.reply({ parameters: { next: true } });
    expect((await next).parameters).toEqual({ next: true });
  });

  it("with a signal aborted before is not sent", async () => {
    await expect(client.call("a.b.C", {}, { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
    client.oneway("a.b.After");
    await service.until(() => service.calls.length > 0);
    expect(service.calls.map(({ method }) => method)).toEqual(["a.b.After"]);
  });

  it("still waiting fails with CONNECTION_CLOSED when the client or the service closes; later ones too", async () => {
    const mine = client.call("a.b.C");
    client.close();
    await expect(mine).rejects.toMatchObject({
      code: "CONNECTION_CLOSED",
      message: "the connection to the broker is closed",
    });
    await expect(client.call("a.b.C")).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
    expect(() => client.oneway("a.b.C")).toThrow(expect.objectContaining({ code: "CONNECTION_CLOSED" }));
    const [ours, theirs] = socketPair();
    using other = new VarlinkClient(ours);
    const pending = [other.call("a.b.C"), other.call("a.b.D")];
    theirs.close();
    for (const call of pending) await expect(call).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
    expect(other.closed).toBe(true);
  });

  it("gets the reason from a service that refused it and closed before the call was sent", async () => {
    const [ours, theirs] = socketPair();
    using other = new VarlinkClient(ours);
    native.sendmsg(theirs.fd, Buffer.from('{"error":"a.b.Full","parameters":{}}\0'), 0, new Int32Array(0), 0);
    theirs.close();
    await expect(other.call("a.b.C")).rejects.toMatchObject({ error: "a.b.Full" });
  });

  it("hears why it was turned away by a service that closed without reading the call", async () => {
    const [ours, theirs] = socketPair();
    using other = new VarlinkClient(ours);
    const call = other.call("a.b.C");
    native.sendmsg(theirs.fd, Buffer.from('{"error":"a.b.Full","parameters":{}}\0'), 0, new Int32Array(0), 0);
    theirs.close();
    await expect(call).rejects.toMatchObject({ error: "a.b.Full" });
  });

  it("is refused when 1024 already wait", async () => {
    const waiting = Array.from({ length: 1024 }, () => client.call("a.b.C").catch((error) => error.code));
    await expect(client.call("a.b.C")).rejects.toMatchObject({
      code: "PROTOCOL_ERROR",
      message: "1024 calls already wait for their reply",
    });
    client.close();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["CONNECTION_CLOSED"]));
  });
});

describe("a reply that breaks the protocol ends the connection, closes its fds, and fails what waits", () => {
  it.each([
    ["no JSON", "nonsense\0", "the message is not valid JSON"],
    ["no object", "[]\0", "the message is valid JSON, but not an object"],
    ["not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 0]), "the message is not UTF-8"],
    ["parameters that are no object", '{"parameters":[]}\0', "the reply's parameters are no object"],
    ["an error that is no string", '{"error":1}\0', "the reply's error is no string"],
    ["a continues that is no boolean", '{"continues":"yes"}\0', "the reply's continues is no boolean"],
    [
      "a reply that continues, to a call for one",
      '{"parameters":{},"continues":true}\0',
      "it sent a continuing reply to a call for one reply",
    ],
  ])("%s", async (_, bytes, why) => {
    const call = client.call("a.b.C");
    await service.until(() => service.calls.length === 1);
    service.raw(bytes, [file]);
    await expect(call).rejects.toMatchObject({
      code: "PROTOCOL_ERROR",
      message: expect.stringContaining(`the service does not speak Varlink: ${why}`),
    });
    await expect(client.call("a.b.D")).rejects.toMatchObject({ code: "PROTOCOL_ERROR" });
  });

  it("a reply that no call waits for", async () => {
    service.reply({ parameters: {} }, [file]);
    await service.until(() => service.closed);
    await expect(client.call("a.b.C")).rejects.toMatchObject({
      code: "PROTOCOL_ERROR",
      message: "the service does not speak Varlink: it sent a reply to no call",
    });
    client.close();
    await expect(client.call("a.b.C")).rejects.toMatchObject({ code: "PROTOCOL_ERROR" });
  });

  it("unknown fields of a reply are passed over", async () => {
    const call = client.call("a.b.C");
    await service.until(() => service.calls.length === 1);
    service.reply({ parameters: { x: 1 }, extra: true });
    expect((await call).parameters).toEqual({ x: 1 });
  });
});

it("oneway waits for nothing, and the replies of later calls are theirs", async () => {
  client.oneway("a.b.One", { x: 1 }, [file]);
  const call = client.call("a.b.C");
  await service.until(() => service.calls.length === 2);
  expect(service.calls[0]).toEqual({ method: "a.b.One", parameters: { x: 1 }, oneway: true });
  expect(service.fdCounts).toEqual([1, 0]);
  service.reply({ parameters: { mine: true } });
  expect((await call).parameters).toEqual({ mine: true });
});

it("keeps the process alive only while a call waits, and not even then after unref", async () => {
  let isAlive = true;
  const spies = [
    vi.spyOn(Wire.prototype, "ref").mockImplementation(() => {
      isAlive = true;
    }),
    vi.spyOn(Wire.prototype, "unref").mockImplementation(() => {
      isAlive = false;
    }),
  ];
  onTestFinished(() => {
    for (const spy of spies) spy.mockRestore();
  });
  const [ours, theirs] = socketPair();
  using other = new VarlinkClient(ours);
  const peer = new FakeConnection(theirs);
  const seen = [isAlive];
  const calls = ["a.b.C", "a.b.D"].map((method) => {
    const call = other.call(method);
    seen.push(isAlive);
    return call;
  });
  await peer.until(() => peer.calls.length === 2);
  for (const call of calls) {
    peer.reply({});
    await call;
    seen.push(isAlive);
  }
  expect(seen).toEqual([false, true, true, true, false]);
  other.unref();
  const last = other.call("a.b.E");
  expect(isAlive).toBe(false);
  await peer.until(() => peer.calls.length === 3);
  peer.reply({});
  await last;
  isAlive = true;
  other.unref();
  expect(isAlive).toBe(false);
  peer.wire.close();
});

it("is closed when it is disposed of", () => {
  const [ours, theirs] = socketPair();
  const other = new VarlinkClient(ours);
  other[Symbol.dispose]();
  expect(other.closed).toBe(true);
  theirs.close();
});

it("takes a reply of a megabyte", async () => {
  const call = client.call("a.b.C");
  await service.until(() => service.calls.length === 1);
  const text = "x".repeat(1024 * 1024);
  service.reply({ parameters: { text } });
  expect((await call).parameters["text"]).toHaveLength(text.length);
});

it("a service that does not read is told from one that is gone, and calls already sent still wait", async () => {
  const mute = socketPair();
  using other = new VarlinkClient(mute[0]);
  const padding = "x".repeat(4 * 1024 * 1024);
  const waiting = other.call("a.b.C", { padding }).catch((error: unknown) => error);
  await expect(other.call("a.b.C", { padding })).rejects.toMatchObject({
    code: "CONNECTION_CLOSED",
    message: "the service does not read its calls",
  });
  expect(other.closed).toBe(false);
  mute[1].close();
  expect(await waiting).toMatchObject({ code: "CONNECTION_CLOSED", cause: { code: "SYSTEM_ERROR" } });
});

it("a signal is left alone once its call or stream is over", async () => {
  const { signal } = new AbortController();
  const listeners = (): number => getEventListeners(signal, "abort").length;
  const answered = client.call("a.b.C", {}, { signal });
  const refused = client.call("a.b.D", {}, { signal });
  const streamed = client.stream("a.b.E", {}, { signal }).next();
  await service.until(() => service.calls.length === 3);
  expect(listeners()).toBe(3);
  service.reply({});
  service.reply({ error: "a.b.No" });
  service.reply({ error: "a.b.No" });
  await answered;
  await expect(refused).rejects.toMatchObject({ error: "a.b.No" });
  await expect(streamed).rejects.toMatchObject({ error: "a.b.No" });
  expect(listeners()).toBe(0);
});

describe("stream", () => {
  it("yields replies until one does not continue; the connection serves on", async () => {
    const replies: unknown[] = [];
    const reading = (async () => {
      for await (const reply of client.stream("a.b.Watch")) {
        replies.push([reply.parameters, reply.fds.length]);
        reply[Symbol.dispose]();
      }
    })();
    await service.until(() => service.calls.length === 1);
    expect(service.calls[0]).toEqual({ method: "a.b.Watch", parameters: {}, more: true });
    service.reply({ parameters: { n: 1 }, continues: true }, [file]);
    service.reply({ parameters: { n: 2 } });
    await reading;
    expect(replies).toEqual([
      [{ n: 1 }, 1],
      [{ n: 2 }, 0],
    ]);
    const call = client.call("a.b.C");
    await service.until(() => service.calls.length === 2);
    service.reply({});
    await call;
  });

  it("left early closes the connection and the fds that had come ahead", async () => {
    const stream = client.stream("a.b.Watch");
    const first = stream.next();
    await service.until(() => service.calls.length === 1);
    const open = openFds().length;
    for (let at = 0; at < 5; at++) service.reply({ parameters: { at }, continues: true }, [file]);
    await vi.waitUntil(() => openFds().length === open + 5, { interval: 1, timeout: 30_000 });
    (await first).value?.[Symbol.dispose]();
    await stream.return();
    await service.until(() => service.closed);
    expect(client.closed).toBe(true);
  });

  it("ends with RefusedError for an error reply, and the connection serves on", async () => {
    const stream = client.stream("a.b.Watch");
    const first = stream.next();
    await service.until(() => service.calls.length === 1);
    service.reply({ error: "a.b.No" }, [file]);
    await expect(first).rejects.toMatchObject({ error: "a.b.No" });
    expect(client.closed).toBe(false);
  });

  it("ends with an error reply, although that says that it continues", async () => {
    const first = client.stream("a.b.Watch").next();
    await service.until(() => service.calls.length === 1);
    service.reply({ error: "a.b.No", continues: true });
    await expect(first).rejects.toMatchObject({ error: "a.b.No" });
    const call = client.call("a.b.C");
    service.reply({ parameters: { mine: true } });
    expect((await call).parameters).toEqual({ mine: true });
  });

  it("takes no more than 64 replies ahead, and further ones only when its reader has taken these", async () => {
    const stream = client.stream("a.b.Watch");
    const first = stream.next();
    await service.until(() => service.calls.length === 1);
    const before = openFds().length;
    const held = async (): Promise<number> => {
      for (let turn = 0; turn < 50; turn++) await setImmediate();
      return openFds().length - before;
    };
    const total = 100;
    const reply = (at: number): void => service.reply({ parameters: { at }, continues: at < total - 1 }, [file]);
    reply(0);
    (await first).value?.[Symbol.dispose]();
    for (let at = 1; at < total; at++) reply(at);
    await vi.waitUntil(() => openFds().length - before >= 64, { interval: 1, timeout: 30_000 });
    expect(await held()).toBe(64);
    for (let at = 1; at < total; at++) {
      const { value } = await stream.next();
      expect(value?.parameters).toEqual({ at });
      value?.[Symbol.dispose]();
      if (at === 1) expect(await held()).toBe(63);
    }
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it("ends with the signal's reason, also while waiting", async () => {
    const controller = new AbortController();
    const stream = client.stream("a.b.Watch", {}, { signal: controller.signal });
    const first = stream.next();
    await service.until(() => service.calls.length === 1);
    controller.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    await service.until(() => service.closed);
    await expect(client.stream("a.b.C", {}, { signal: controller.signal }).next()).rejects.toThrow("enough");
  });

  it("fails with CONNECTION_CLOSED when the service goes", async () => {
    const first = client.stream("a.b.Watch").next();
    await service.until(() => service.calls.length === 1);
    service.wire.close();
    await expect(first).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
  });

  it("reads no further than its reader keeps up with", async () => {
    const stream = client.stream("a.b.Watch");
    const first = stream.next();
    await service.until(() => service.calls.length === 1);
    const padding = "x".repeat(10_000);
    const total = 300;
    for (let at = 0; at < total; at++) service.reply({ parameters: { at, padding }, continues: true });
    expect((await first).value?.parameters).toMatchObject({ at: 0 });
    expect(service.wire.queued).toBe(true);
    for (let at = 1; at < total; at++) expect((await stream.next()).value?.parameters).toMatchObject({ at });
    await stream.return();
  });
});

it("connect names the path where no service listens", async () => {
  await expect(VarlinkClient.connect("/nonexistent/socket")).rejects.toMatchObject({
    code: "BROKER_UNREACHABLE",
    message: "cannot reach a broker at /nonexistent/socket: there is no such socket; is berthd running?",
  });
  await expect(VarlinkClient.connect(`@berthd-nobody-${process.pid}`)).rejects.toThrow("nobody listens on it");
  await expect(VarlinkClient.connect(`/${"x".repeat(200)}`)).rejects.toThrow("longer than a UNIX socket address");
  await expect(VarlinkClient.connect("/nonexistent", { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
});
