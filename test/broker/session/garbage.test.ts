/** Hazards 7, 8, 10 and 11: whatever a peer sends, the broker lives, serves others, and keeps nothing of it. */
import { openSync } from "node:fs";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { native } from "../../../src/native.ts";
import { type BrokerProcess, spawnBroker } from "../../support/broker.ts";
import { expectFdsAgain, openFds, settledFds } from "../../support/fds.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";

const file = openSync("/dev/null", "r");
const many = (count: number): number[] => new Array<number>(count).fill(file);
const LIST = frame("List");
const INVALID = "org.varlink.service.InvalidParameter";

/** A broker, what it had open at first, and what must hold when a peer is done with it. */
class Victim implements AsyncDisposable {
  readonly broker: BrokerProcess;
  readonly before: readonly string[];

  private constructor(broker: BrokerProcess, before: readonly string[]) {
    this.broker = broker;
    this.before = before;
  }

  static async start(): Promise<Victim> {
    const listen = `listen = ["tcp://127.0.0.1:${await freePort()}"]`;
    const broker = await spawnBroker({ "a.toml": `[sockets.a]\n${listen}` }, ["--deadline", "3"]);
    return new Victim(broker, await settledFds(broker.pid));
  }

  async expectServes(): Promise<void> {
    using client = await RawPeer.known(this.broker.socket);
    expect((await client.call("List"))?.parameters["berths"]).toHaveLength(1);
    expect(this.broker.child.exitCode).toBeNull();
  }

  /** Ends the broker; fails when it keeps a descriptor of a peer. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.expectServes();
    await expectFdsAgain(this.before, this.broker.pid);
    await this.broker[Symbol.asyncDispose]();
  }
}

/** Sends, and gives every reply until the broker has closed. */
async function closedAfter(broker: BrokerProcess, data: string | Uint8Array, fds: readonly number[] = []) {
  using peer = await RawPeer.known(broker.socket);
  await peer.send(data, fds);
  return await peer.receiveAll();
}

describe("a peer that sends garbage", () => {
  let victim: Victim;
  let broker: BrokerProcess;

  beforeAll(async () => {
    victim = await Victim.start();
    broker = victim.broker;
  });
  afterEach(() => victim.expectServes());
  afterAll(() => victim[Symbol.asyncDispose]());

  it.each([
    ["a NUL alone", "\0"],
    ["text", "GET / HTTP/1.1\r\n\r\n\0"],
    ["broken JSON", '{"method":\0'],
    ["an array", "[]\0"],
    ["a number", "7\0"],
    ["no method", "{}\0"],
    ["a method that is no string", '{"method":7}\0'],
    ["parameters that are no object", '{"method":"io.berthd.Broker.List","parameters":[]}\0'],
    ["a key twice", '{"method":"io.berthd.Broker.List","method":"io.berthd.Broker.List"}\0'],
    ["a key twice, spelt apart", '{"method":"x","m\\u0065thod":"io.berthd.Broker.List"}\0'],
    ["an unknown field", '{"method":"io.berthd.Broker.List","x":1}\0'],
    ["__proto__", '{"method":"io.berthd.Broker.List","__proto__":{"oneway":true}}\0'],
    ["more and oneway", frame("Watch", {}, { more: true, oneway: true })],
    ["upgrade", frame("List", {}, { upgrade: true })],
    ["deep arrays", `${"[".repeat(100_000)}\0`],
    ["deep objects", `${'{"a":'.repeat(100_000)}\0`],
    ["invalid UTF-8", Buffer.from([...Buffer.from('{"method":"'), 0xff, 0xfe, ...Buffer.from('"}\0')])],
    ["overlong UTF-8", Buffer.from([...Buffer.from('{"method":"'), 0xc0, 0x80, ...Buffer.from('"}\0')])],
    ["a byte order mark", `\uFEFF${LIST}`],
  ])("%s: is told what is wrong, and the connection is closed", async (_, data) => {
    const replies = await closedAfter(broker, data);
    expect(replies).toMatchObject([{ error: INVALID, parameters: { parameter: "call" } }]);
    expect(String(replies[0]?.parameters["message"]).length).toBeGreaterThan(10);
  });

  it.each([
    ["unknown parameters", frame("List", { x: 1 }), "x"],
    ["__proto__ among parameters", LIST.replace('"parameters":{}', '"parameters":{"__proto__":{"a":1}}'), "__proto__"],
    ["a missing parameter", frame("Acquire"), "berth"],
    ["a number where text must be", frame("Acquire", { berth: 7 }), "berth"],
    ["what replace cannot be", frame("Acquire", { berth: "a", replace: "maybe" }), "replace"],
    ["a NUL in the command", frame("Launch", { berth: "a", command: ["\0"] }), "command"],
    ["a descriptor missing", frame("Stash", { lease: "x", name: "y" }), "fds"],
  ])("%s: is told which, and may go on", async (_, data, parameter) => {
    using peer = await RawPeer.known(broker.socket);
    await peer.send(data);
    expect(await peer.receive()).toMatchObject({ error: INVALID, parameters: { parameter } });
    expect((await peer.call("List"))?.error).toBeUndefined();
  });

  it("unknown methods and interfaces have their own errors", async () => {
    using peer = await RawPeer.known(broker.socket);
    expect((await peer.call("Nothing"))?.error).toBe("org.varlink.service.MethodNotFound");
    for (const method of ["no.such.Thing", "plain", "", ".", "__proto__", "constructor.x"]) {
      await peer.send(`${JSON.stringify({ method })}\0`);
      expect((await peer.receive())?.error).toBe("org.varlink.service.InterfaceNotFound");
    }
  });

  it("descriptors with a call that takes none, or too many, or with JSON that is none, are closed and refused", async () => {
    using peer = await RawPeer.known(broker.socket);
    for (const count of [1, 2, 253]) {
      const reply = await peer.call("List", {}, many(count));
      expect(reply).toMatchObject({ error: INVALID, parameters: { parameter: "fds" } });
    }
    const stash = await peer.call("Stash", { lease: "x", name: "y" }, many(2));
    expect(stash?.parameters["message"]).toBe("io.berthd.Broker.Stash takes 1 descriptors, not 2");
    expect((await closedAfter(broker, "{\0", many(253)))[0]?.error).toBe(INVALID);
    expect((await closedAfter(broker, frame("List", {}, { upgrade: true }), many(3)))[0]?.error).toBe(INVALID);
  });

  it("descriptors with an invalid oneway call are closed, without a reply", async () => {
    using peer = await RawPeer.known(broker.socket);
    await peer.send(frame("List", {}, { oneway: true }), many(9));
    await peer.send(frame("Acquire", { berth: 3 }, { oneway: true }), many(9));
    expect((await peer.call("List"))?.parameters["berths"]).toHaveLength(1);
  });

  const expectsFds = "takes 0 descriptors, not 1";

  it("descriptors belong to the frame whose first byte they came with: in two sends", async () => {
    using peer = await RawPeer.known(broker.socket);
    peer.trySend(LIST);
    peer.trySend(frame("Watch", { x: 1 }, { more: true }).replace('"x":1', ""), [file]);
    expect((await peer.receive())?.parameters["berths"]).toHaveLength(1);
    expect((await peer.receive())?.parameters["message"]).toContain(expectsFds);
  });

  it("… in one send of two frames, to the first", async () => {
    using peer = await RawPeer.known(broker.socket);
    peer.trySend(`${LIST}${LIST}`, [file]);
    expect((await peer.receive())?.parameters["message"]).toContain(expectsFds);
    expect((await peer.receive())?.parameters["berths"]).toHaveLength(1);
  });

  it("… and still when the peer has been read without looking for frames' ends", async () => {
    using peer = await RawPeer.known(broker.socket);
    for (let n = 0; n < 12; n++) expect((await peer.call("List"))?.error).toBeUndefined();
    peer.trySend(LIST);
    peer.trySend(LIST, [file]);
    peer.trySend(LIST);
    expect((await peer.receive())?.parameters["berths"]).toHaveLength(1);
    expect((await peer.receive())?.parameters["message"]).toContain(expectsFds);
    expect((await peer.receive())?.parameters["berths"]).toHaveLength(1);
  });

  it("nothing that follows a broken frame is done, however it arrives", async () => {
    using peer = await RawPeer.known(broker.socket);
    const acquire = frame("Acquire", { berth: "a" });
    const long = frame("List", {}).replace("{", `{${" ".repeat(acquire.length)}`);
    for (let n = 0; n < 12; n++) {
      await peer.send(long);
      await peer.receive();
    }
    await peer.send(`{\0${acquire}`);
    const replies = await peer.receiveAll();
    expect(replies).toMatchObject([{ error: INVALID }]);
    using client = await RawPeer.known(broker.socket);
    expect(JSON.stringify((await client.call("List"))?.parameters)).toContain('"vacant"');
  });
});

describe("a peer that does worse, to a broker of each test's own", () => {
  let victim: Victim;
  let broker: BrokerProcess;

  beforeEach(async () => {
    victim = await Victim.start();
    broker = victim.broker;
  });
  afterEach(() => victim[Symbol.asyncDispose]());

  it("a broken call is logged", async () => {
    await closedAfter(broker, "{}\0");
    await broker.logged(({ event }) => event === "protocol-error");
  });

  it("more descriptors than any method takes, with a message that is never finished, are not kept waiting for", async () => {
    const peers = await Promise.all(Array.from({ length: 8 }, () => RawPeer.known(broker.socket)));
    try {
      for (const peer of peers) peer.trySend("{", many(253));
      for (const peer of peers) expect(await peer.receive()).toBeUndefined();
      await broker.logged(({ message }) => message.includes("a message carries 253 descriptors; at most 1"));
    } finally {
      for (const peer of peers) peer.close();
    }
  });

  it("descriptors in the middle of a message end the connection", async () => {
    using peer = await RawPeer.known(broker.socket);
    peer.trySend(LIST.slice(0, 9), [file]);
    // A reply on another connection: the broker has read the part.
    using other = await RawPeer.known(broker.socket);
    await other.call("List");
    peer.trySend(LIST.slice(9), [file]);
    expect(await peer.receive()).toBeUndefined();
    await broker.logged(({ message }) => message.includes("in the middle of a message"));
  });

  it("253 descriptors with each 16 KiB of a message, in a loop, are refused every time and never pile up", async () => {
    const text = frame("List", { x: "y".repeat(16_384) });
    using peer = await RawPeer.known(broker.socket);
    let most = 0;
    for (let n = 0; n < 60; n++) {
      await peer.send(text, many(253));
      expect((await peer.receive())?.error).toBe(INVALID);
      most = Math.max(most, openFds(broker.pid).length);
    }
    expect(most).toBeLessThan(victim.before.length + 10);
  });

  it("a flood of NULs, and one of text without any, end the connection with bounded memory", async () => {
    await closedAfter(broker, Buffer.alloc(1_000_000));
    expect(await closedAfter(broker, Buffer.alloc(3_000_000, "x"))).toEqual([]);
    await broker.logged(({ message }) => message.includes("a message exceeds 1048576 bytes"));
  });

  it("a byte a second, and silence in mid-message, meet the deadline", async () => {
    using slow = await RawPeer.known(broker.socket);
    slow.trySend('{"m');
    const drip = setInterval(() => slow.trySend("e"), 300);
    expect(await slow.receive()).toBeUndefined();
    clearInterval(drip);
    await broker.logged(({ message }) => message.includes("a message took longer than 3000 ms to arrive"));
  });

  it("a peer that pipelines and never reads is dropped; so is a watcher; another is served meanwhile", {
    timeout: 60_000,
  }, async () => {
    using deaf = await RawPeer.known(broker.socket);
    let sent = 0;
    for (let taken = 0; taken >= 0; taken = deaf.trySend(LIST.repeat(500))) sent += taken;
    expect(sent).toBeGreaterThan(1000);
    using watcher = await RawPeer.known(broker.socket);
    await watcher.send(frame("Watch", {}, { more: true }));
    using client = await RawPeer.known(broker.socket);
    for (let n = 0; n < 3000; n++) {
      const lease = (await client.call("Acquire", { berth: "a" }))?.parameters["lease"];
      for (const { fd } of client.fds.splice(0)) native.close(fd);
      expect((await client.call("Release", { lease }))?.error).toBeUndefined();
    }
    const dropped = () => broker.log.filter(({ message }) => message.includes("has not read for 3000 ms"));
    await expect.poll(() => dropped().length, { timeout: 30_000 }).toBe(2);
  });

  it("a watcher that calls again is disconnected", async () => {
    using watcher = await RawPeer.known(broker.socket);
    await watcher.send(frame("Watch", {}, { more: true }));
    await watcher.receive();
    await watcher.send(LIST, many(5));
    expect(await watcher.receive()).toBeUndefined();
    await broker.logged(({ message }) => message.includes("a connection that called Watch accepts no further call"));
  });

  it("a peer that disconnects before its reply is not logged as slow", async () => {
    for (let n = 0; n < 20; n++) {
      const peer = await RawPeer.known(broker.socket);
      peer.trySend(LIST.repeat(50));
      peer.close();
    }
    using client = await RawPeer.known(broker.socket);
    await client.call("List");
    expect(broker.log.filter(({ message }) => message.includes("does not read"))).toEqual([]);
  });

  it("anything at all: random frames, bytes and descriptors", async () => {
    const word = fc.oneof(
      fc.json().map((text) => `${text}\0`),
      fc.constantFrom(
        LIST,
        "\0",
        "{",
        '{"method":"',
        frame("Acquire", { berth: "a" }),
        frame("Watch", {}, { more: true }),
      ),
      fc
        .record({
          method: fc.constantFrom("List", "Release", "Stash", "Launch"),
          parameters: fc.dictionary(fc.string(), fc.jsonValue()),
        })
        .map(({ method, parameters }) => frame(method, parameters)),
      fc.uint8Array({ maxLength: 300 }),
    );
    const sends = fc.array(fc.tuple(word, fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 253 }))), {
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(sends, async (list) => {
        const peer = await RawPeer.known(broker.socket);
        for (const [data, fds] of list) if (data.length > 0) peer.trySend(data, many(fds));
        peer.close();
        using client = await RawPeer.known(broker.socket);
        expect((await client.call("List"))?.parameters["berths"]).toHaveLength(1);
      }),
      { numRuns: 100_000, interruptAfterTimeLimit: 4000 },
    );
    // This process may have become the tenant; nothing else of it is left.
    using client = await RawPeer.known(broker.socket);
    const lease = (await client.call("Acquire", { berth: "a" }))?.parameters["lease"];
    expect((await client.call("Release", { lease }))?.error).toBeUndefined();
  });
});
