import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect as connectTcp } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acquire } from "../../src/client/acquire.ts";
import { connect } from "../../src/client/connect.ts";
import type { FdHandle } from "../../src/fd.ts";
import { packageRoot } from "../../src/native.ts";
import { socketPaths } from "../../src/net/socket-path.ts";
import { startBroker } from "../support/broker.ts";
import { FakeService, type Message } from "../support/fake-service.ts";
import { expectFdsAgain, leaksNothing, openFds } from "../support/fds.ts";
import { fileOf, memfd } from "../support/sockets.ts";

leaksNothing("soon");
let file: FdHandle;
beforeEach(() => {
  file = memfd();
});
afterEach(() => {
  file.close();
});

const arena = {
  "arena.toml":
    '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n[sockets.query]\nlisten = ["udp://127.0.0.1:0", "udp://[::1]:0"]\n',
};

describe("acquire from a broker", () => {
  it("gives sockets that serve: a net.Server, and dgram sockets of both families", async () => {
    await using broker = await startBroker(arena);
    await using tenancy = await acquire("arena", { socket: broker.socket });
    expect(tenancy.descriptors.map(({ name, kind }) => [name, kind])).toEqual([
      ["game", "stream"],
      ["query", "datagram"],
      ["query", "datagram"],
    ]);
    const server = tenancy.net("game");
    server.on("connection", (player) => player.end("hello"));
    const [text] = await once(connectTcp((server.address() as AddressInfo).port, "127.0.0.1"), "data");
    expect(text.toString()).toBe("hello");
    for (const [index, family, host] of [
      [0, "udp4", "127.0.0.1"],
      [1, "udp6", "::1"],
    ] as const) {
      const socket = tenancy.dgram("query", index);
      socket.on("message", (message, from) => socket.send(message, from.port, from.address));
      const player = createSocket(family);
      player.send("ping", socket.address().port, host);
      expect((await once(player, "message"))[0].toString()).toBe("ping");
      player.close();
    }
    await tenancy.ready();
    expect(() => tenancy.root).toThrow(
      expect.objectContaining({ code: "DESCRIPTOR_MISMATCH", message: expect.stringContaining("arena has no root") }),
    );
    expect(() => tenancy.fd("nope")).toThrow(
      expect.objectContaining({ code: "DESCRIPTOR_MISMATCH", message: expect.stringContaining("game, query") }),
    );
    expect(() => tenancy.fd("query", 2)).toThrow("query has no index 2: it has 2 descriptors: index 0 to 1");
    expect(() => tenancy.dgram("game")).toThrow(expect.objectContaining({ code: "DESCRIPTOR_MISMATCH" }));
  });

  it("release gives the berth back once, closes what was made, and the descriptors", async () => {
    await using broker = await startBroker(arena);
    const tenancy = await acquire("arena", { socket: broker.socket });
    const closed = once(tenancy.net("game"), "close");
    const first = tenancy.release();
    expect(tenancy.release()).toBe(first);
    await Promise.all([first, closed]);
    expect(() => tenancy.fd("game").fd).toThrow(expect.objectContaining({ code: "DESCRIPTOR_CLOSED" }));
    using client = await connect({ socket: broker.socket });
    const { parameters } = await client.call("io.berthd.Broker.List");
    expect(parameters).toMatchObject({ berths: [{ name: "arena", state: "vacant" }] });
    await tenancy[Symbol.asyncDispose]();
  });

  it("release succeeds after a socket was closed in the same tick, and gives the berth back", async () => {
    await using broker = await startBroker(arena);
    const tenancy = await acquire("arena", { socket: broker.socket });
    tenancy.dgram("query").close();
    tenancy.net("game").close();
    await tenancy.release();
    expect(broker.broker.berths[0]?.state).toBe("vacant");
  });

  it.each(["cluster", "thread"])(
    "net() and dgram() serve in a %s worker, on the worker's own descriptors",
    async (how) => {
      await using broker = await startBroker(arena);
      const program = join(packageRoot, "test/fixtures/worker-tenant.mjs");
      const env = { ...process.env, BERTHD_SOCKET: broker.socket };
      const child = spawn(process.execPath, [program, how, "arena"], { env, stdio: ["pipe", "pipe", "inherit"] });
      const exited = once(child, "exit");
      const [line] = await once(createInterface(child.stdout), "line");
      const [game, query] = String(line).split(" ").map(Number);
      const [text] = await once(connectTcp(game ?? -1, "127.0.0.1"), "data");
      // The worker is a worker again afterwards.
      expect(text.toString()).toBe(`${how} ${how === "thread"}`);
      const player = createSocket("udp4");
      player.send("ping", query, "127.0.0.1");
      expect(String((await once(player, "message"))[0])).toBe(`${how} ${how === "thread"}`);
      player.close();
      child.stdin.end();
      expect(await exited).toEqual([0, null]);
    },
  );

  it("stashes by handle and by number, for the successor, who finds them by name", async () => {
    await using broker = await startBroker(arena);
    {
      await using tenancy = await acquire("arena", { socket: broker.socket });
      await tenancy.stash("handle", file);
      await tenancy.stash("number", file.fd);
      expect(file.open).toBe(true);
      await expect(tenancy.stash("bad", 9999)).rejects.toMatchObject({ code: "DESCRIPTOR_CLOSED" });
    }
    await using next = await acquire("arena", { socket: broker.socket });
    expect([fileOf(next.fd("handle")), fileOf(next.fd("number"))]).toEqual([fileOf(file), fileOf(file)]);
  });

  it("is refused as the broker says: for a berth that is not there", async () => {
    await using broker = await startBroker(arena);
    const absent = { code: "REFUSED", error: "io.berthd.Broker.NoSuchBerth", parameters: { berth: "nope" } };
    await expect(acquire("nope", { socket: broker.socket })).rejects.toMatchObject(absent);
    await expect(acquire("nope", { socket: broker.socket, wait: true })).rejects.toMatchObject(absent);
  });

  it("says that the broker is gone when it is, and closes its descriptors all the same", async () => {
    await using broker = await startBroker(arena);
    const tenancy = await acquire("arena", { socket: broker.socket });
    await broker.broker.close();
    await expect(tenancy.ready()).rejects.toMatchObject({
      code: expect.stringMatching(/CONNECTION_CLOSED|BROKER_UNREACHABLE/),
    });
    await expect(tenancy.release()).rejects.toMatchObject({ code: "BROKER_UNREACHABLE" });
    expect(() => tenancy.fd("game").fd).toThrow("closed");
  });
});

const path = `@berthd-fake-${process.pid}`;
const granted = { lease: "lease-1", descriptors: [{ name: "game", kind: "stream", index: 0 }] };

describe("acquire from a broker that a test plays", () => {
  it("sends later calls over a new connection when the first one was dropped while idle", async () => {
    using fake = new FakeService(path, (call, connection) => {
      if (call["method"] === "io.berthd.Broker.Acquire") connection.reply({ parameters: granted }, [file]);
      else connection.reply({ parameters: {} });
    });
    const tenancy = await acquire("arena", { socket: path });
    fake.connections[0]?.wire.close();
    // The first call may still find the connection on its way out.
    while (fake.connections.length < 2) await tenancy.ready().catch(() => undefined);
    await tenancy.release();
    expect(fake.connections[1]?.calls.map(({ method }) => method)).toEqual(
      expect.arrayContaining(["io.berthd.Broker.Ready", "io.berthd.Broker.Release"]),
    );
  });

  it("release that fails can be called again, and then gives the berth back", async () => {
    let refusals = 1;
    using fake = new FakeService(path, (call, connection) => {
      if (call["method"] === "io.berthd.Broker.Acquire") connection.reply({ parameters: granted }, [file]);
      else if (refusals-- > 0) connection.reply({ error: "io.berthd.Broker.LimitReached", parameters: {} });
      else connection.reply({ parameters: {} });
    });
    const tenancy = await acquire("arena", { socket: path });
    await expect(tenancy.release()).rejects.toMatchObject({ error: "io.berthd.Broker.LimitReached" });
    await tenancy.release();
    expect(fake.connections.flatMap(({ calls }) => calls.map(({ method }) => method))).toEqual([
      "io.berthd.Broker.Acquire",
      "io.berthd.Broker.Release",
      "io.berthd.Broker.Release",
    ]);
  });

  it.each<[string, Message, number]>([
    ["no lease", { descriptors: [] }, 1],
    ["no descriptors", { lease: "x" }, 1],
    ["fewer descriptors than fds", { ...granted }, 2],
    ["more descriptors than fds", { ...granted }, 0],
    ["an index that has no fd", { lease: "x", descriptors: [{ name: "a", kind: "stream", index: 1 }] }, 1],
    ["a negative index", { lease: "x", descriptors: [{ name: "a", kind: "stream", index: -1 }] }, 1],
    ["no index", { lease: "x", descriptors: [{ name: "a", kind: "stream" }] }, 1],
    ["no name", { lease: "x", descriptors: [{ kind: "stream", index: 0 }] }, 1],
    ["an unknown kind", { lease: "x", descriptors: [{ name: "a", kind: "pipe", index: 0 }] }, 1],
    ["null for a descriptor", { lease: "x", descriptors: [null] }, 1],
    [
      "one fd for two descriptors",
      { lease: "x", descriptors: [granted.descriptors[0], { ...granted.descriptors[0], name: "b" }] },
      2,
    ],
  ])("refuses a reply with %s, and closes every fd of it", async (_, parameters, count) => {
    using fake = new FakeService(path, (__, connection) =>
      connection.reply({ parameters }, new Array<FdHandle>(count).fill(file)),
    );
    const open = openFds();
    await expect(acquire("arena", { socket: path })).rejects.toMatchObject({ code: "PROTOCOL_ERROR" });
    expect(fake.connections.length).toBe(1);
    await fake.connections[0]?.until(() => fake.connections[0]?.closed === true);
    await expectFdsAgain(open);
  });

  const occupied = {
    error: "io.berthd.Broker.BerthOccupied",
    parameters: { berth: "arena", lease: { id: "x", pid: 1, uid: 0 }, message: "taken" },
  };

  it("occupied and denied come as RefusedError, with their parameters", async () => {
    const replies = [occupied, { error: "org.varlink.service.PermissionDenied", parameters: {} }];
    using _ = new FakeService(path, (__, connection) => connection.reply(replies.shift()));
    await expect(acquire("arena", { socket: path, replace: "no" })).rejects.toMatchObject({
      error: occupied.error,
      message: "taken",
      parameters: { lease: { pid: 1 } },
    });
    await expect(acquire("arena", { socket: path })).rejects.toMatchObject({
      error: "org.varlink.service.PermissionDenied",
    });
  });

  it("wait: asks again at each change of its berth, until it is granted", async () => {
    let asked = 0;
    const event = (name: string, what: string): Message => ({
      parameters: { event: what, berth: { name, state: "vacant", descriptors: [] } },
      continues: true,
    });
    using _ = new FakeService(path, (call, connection) => {
      const method = String(call["method"]).split(".").at(-1);
      if (method === "Acquire") {
        if (++asked === 3) connection.reply({ parameters: granted }, [file]);
        else connection.reply(occupied);
      } else if (method === "Watch") {
        connection.reply(event("arena", "present"));
        connection.reply(event("other", "released"));
        connection.reply(event("arena", "ready"));
        connection.reply(event("arena", "released"));
      } else connection.reply({ parameters: {} });
    });
    await using tenancy = await acquire("arena", { socket: path, wait: true });
    expect([tenancy.lease, asked]).toEqual(["lease-1", 3]);
  });

  it("wait: ends with the refusal when the berth is removed meanwhile, and with the signal's reason", async () => {
    let asked = 0;
    const gone = { error: "io.berthd.Broker.NoSuchBerth", parameters: { berth: "arena" } };
    const controller = new AbortController();
    using _ = new FakeService(path, (call, connection) => {
      if (String(call["method"]).endsWith("Acquire")) connection.reply(++asked === 2 ? gone : occupied);
      else if (asked === 1)
        connection.reply({ parameters: { event: "removed", berth: { name: "arena" } }, continues: true });
      else controller.abort(new Error("waited enough"));
    });
    await expect(acquire("arena", { socket: path, wait: true })).rejects.toMatchObject({ error: gone.error });
    await expect(acquire("arena", { socket: path, wait: true, signal: controller.signal })).rejects.toThrow(
      "waited enough",
    );
  });

  it("aborted while waiting for the reply, closes the connection", async () => {
    const controller = new AbortController();
    using fake = new FakeService(path, () => controller.abort(new Error("changed my mind")));
    await expect(acquire("arena", { socket: path, signal: controller.signal })).rejects.toThrow("changed my mind");
    await fake.connections[0]?.until(() => fake.connections[0]?.closed === true);
  });
});

describe("connect", () => {
  it("names every place where it looked", async () => {
    const saved = { ...process.env };
    try {
      process.env["BERTHD_SOCKET"] = "";
      process.env["XDG_RUNTIME_DIR"] = "/nonexistent/run";
      expect(socketPaths(process.env, 1000)).toEqual([
        "/nonexistent/run/berthd/io.berthd.Broker",
        "/run/berthd/io.berthd.Broker",
      ]);
      const failure = await connect().then(
        () => undefined,
        (error: Error) => error.message.split("\n"),
      );
      expect(failure?.length).toBe(socketPaths().length);
      for (const [at, place] of socketPaths().entries()) expect(failure?.[at]).toContain(`at ${place}:`);
      process.env["BERTHD_SOCKET"] = "/nonexistent/mine";
      await expect(connect()).rejects.toMatchObject({
        code: "BROKER_UNREACHABLE",
        message: expect.stringContaining("/nonexistent/mine"),
      });
    } finally {
      process.env["BERTHD_SOCKET"] = saved["BERTHD_SOCKET"];
      if (saved["BERTHD_SOCKET"] === undefined) delete process.env["BERTHD_SOCKET"];
      process.env["XDG_RUNTIME_DIR"] = saved["XDG_RUNTIME_DIR"];
      if (saved["XDG_RUNTIME_DIR"] === undefined) delete process.env["XDG_RUNTIME_DIR"];
    }
  });
});
