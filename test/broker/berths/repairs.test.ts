/** What others see of a berth whose sockets are set right, with a guard that answers when the test says so. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Predecessor } from "../../../src/broker/restart/takeover-client.ts";
import { native } from "../../../src/native.ts";
import { SO_RCVBUF, SOL_SOCKET } from "../../../src/net/socket-constants.ts";
import { socketOption } from "../../../src/net/socket-queries.ts";
import { berth } from "../../cli/support.ts";
import { startBroker, type TestBroker } from "../../support/broker.ts";
import { HeldUpGuard } from "../../support/held-up-guard.ts";
import { needs } from "../../support/needs.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { Puppet } from "../../support/puppet.ts";

const arena = (more = ""): Record<string, string> => ({
  "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${more}`,
});

/** Takes the berth in this process. It resolves when the broker answers. */
async function take({ socket }: TestBroker): Promise<{ peer: RawPeer; lease: string }> {
  const peer = await RawPeer.connect(socket);
  const reply = await peer.call("Acquire", { berth: "arena" });
  return { peer, lease: String(reply?.parameters["lease"]) };
}

/** The berth of the next event `changed`. */
async function changed(watcher: RawPeer): Promise<unknown> {
  for (;;) {
    const reply = await watcher.receive();
    if (reply === undefined) throw new Error("the broker has closed the connection");
    if (reply.parameters["event"] === "changed") return reply.parameters["berth"];
  }
}

/** A broker whose berth was taken and released: the guard waits with its repair. */
async function released(guard: HeldUpGuard): Promise<{ test: TestBroker; puppet: Puppet }> {
  const test = await startBroker(arena(), { guard });
  const puppet = await Puppet.connect(test.socket);
  await puppet.call("Release", { lease: await puppet.acquire("arena") });
  await expect.poll(() => guard.waiting).toBe(1);
  return { test, puppet };
}

describe("while the guard sets the sockets of a berth right", () => {
  it("Release is answered, Acquire waits, and other calls are answered", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = test;
    await using __ = puppet;
    let isAnswered = false;
    const taken = take(test).finally(() => {
      isAnswered = true;
    });
    using other = await RawPeer.connect(test.socket);
    expect((await other.call("List"))?.parameters["berths"]).toMatchObject([{ state: "vacant" }]);
    expect(isAnswered).toBe(false);
    guard.decide("done");
    const { peer, lease } = await taken;
    expect(test.broker.berths[0]?.lease?.id).toBe(lease);
    peer[Symbol.dispose]();
  });

  it("a guard that is not there is asked again", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = test;
    await using __ = puppet;
    const taken = take(test);
    for (let round = 0; round < 3; round++) {
      guard.decide("unavailable");
      await expect.poll(() => guard.waiting).toBe(1);
    }
    expect(test.log.map(({ event }) => event)).not.toContain("tenant-ended");
    guard.decide("unavailable");
    await expect.poll(() => test.log.map(({ message }) => message).join()).toContain("there is no guard process");
    expect(test.broker.berths[0]?.wait).toEqual({
      for: "guard",
      message: "there is no guard process to set its sockets right",
    });
    await expect.poll(() => guard.waiting).toBe(1);
    guard.decide("done");
    (await taken).peer[Symbol.dispose]();
  });

  it("a reload sets other options all the same", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = test;
    await using __ = puppet;
    test.folder.write({ "config/arena.toml": arena('receive-buffer = "64K"')["arena.toml"] ?? "" });
    test.broker.reload();
    const taken = take(test);
    while (test.broker.berths[0]?.lease === undefined) {
      guard.decide("done");
      await new Promise(setImmediate);
    }
    const { peer } = await taken;
    expect(socketOption(peer.fds[0]?.fd ?? -1, SOL_SOCKET, SO_RCVBUF, native)).toBe(2 * 65_536);
    expect(test.log.filter(({ event }) => event === "repaired")).toEqual([]);
    peer[Symbol.dispose]();
  });

  it("the berths of one user get their turns: a few at once, and none is forgotten", async () => {
    const guard = new HeldUpGuard();
    const names = Array.from({ length: 20 }, (_, index) => `arena${index}`);
    await using test = await startBroker(
      Object.fromEntries(names.map((name) => [`${name}.toml`, arena()["arena.toml"] ?? ""])),
      { guard },
    );
    await using puppet = await Puppet.connect(test.socket);
    for (const name of names) await puppet.acquire(name);
    await puppet.kill();
    for (const rounds of [8, 8, 4]) {
      await expect.poll(() => guard.waiting).toBe(rounds);
      guard.decide("done");
    }
    using peer = await RawPeer.connect(test.socket);
    for (const berth of names) expect((await peer.call("Acquire", { berth }))?.error).toBeUndefined();
    expect(guard.owners).toHaveLength(20);
  });

  it("a reload without the berth ends the wait", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = test;
    await using __ = puppet;
    const peer = await RawPeer.connect(test.socket);
    const answer = peer.call("Acquire", { berth: "arena" });
    using other = await RawPeer.connect(test.socket);
    await other.call("List");
    test.folder.write({ "config/other.toml": arena()["arena.toml"] ?? "" });
    rmSync(join(test.folder.path, "config/arena.toml"));
    test.broker.reload();
    guard.decide("done");
    expect(await answer).toMatchObject({ error: expect.stringContaining("NoSuchBerth") });
    peer[Symbol.dispose]();
  });

  it("a berth that waits for longer than a second says so", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = test;
    await using __ = puppet;
    expect(test.broker.berths[0]).not.toHaveProperty("wait");
    await expect
      .poll(() => test.broker.berths[0]?.wait)
      .toEqual({ for: "repair", message: "its sockets are set right after its last tenant" });
    guard.decide("done");
    await expect.poll(() => test.broker.berths[0]?.wait).toBeUndefined();
  });

  it("the broker can be closed", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = puppet;
    await test[Symbol.asyncDispose]();
    guard.decide("done");
    expect(guard.waiting).toBe(0);
  });

  it("another broker takes over once the guard has answered, and repairs it itself", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = test;
    await using __ = puppet;
    const predecessor = await Predecessor.find(test.socket);
    if (predecessor === undefined) throw new Error("there is no broker");
    const second = new HeldUpGuard();
    const started = startBroker(arena(), { guard: second, socket: test.socket, predecessor });
    await expect.poll(() => test.log.map(({ event }) => event)).toContain("succession");
    guard.decide("done");
    await using next = await started;
    expect(guard.waiting).toBe(0);
    const taken = take({ ...next, socket: test.socket });
    await expect.poll(() => second.waiting).toBe(1);
    while (next.broker.berths[0]?.lease === undefined) {
      second.decide("done");
      await new Promise(setImmediate);
    }
    (await taken).peer[Symbol.dispose]();
  });
});

describe("a tenant that has the kernel hold its socket's lock", needs("root"), () => {
  it("is ended, that is logged, and the next one gets the berth when the lock is free", async () => {
    const guard = new HeldUpGuard();
    await using test = await startBroker(
      { "arena.toml": `${arena()["arena.toml"]}[tenant]\nusers = [65534]\n` },
      { guard },
    );
    await using puppet = await Puppet.connect(test.socket, { uid: 65_534, gid: 65_534 });
    await puppet.call("Release", { lease: await puppet.acquire("arena") });
    await expect.poll(() => guard.waiting).toBe(1);
    using watcher = await RawPeer.connect(test.socket);
    await watcher.send(frame("Watch", {}, { more: true }));
    guard.decide("stuck");
    await puppet.exited;
    await expect
      .poll(() => test.log.find(({ event }) => event === "tenant-ended"))
      .toMatchObject({
        level: "warning",
        berth: "arena",
        uid: 65_534,
        message: expect.stringContaining(`ended pid ${puppet.pid}`),
      });
    expect(guard.owners).toEqual([65_534]);
    const wait = {
      for: "lock",
      pid: puppet.pid,
      message: `pid ${puppet.pid} (uid 65534) has the kernel hold the lock of its socket`,
    };
    expect(await changed(watcher)).toMatchObject({ state: "vacant", wait });
    expect((await berth(["--socket", test.socket, "ls"])).stdout).toMatch(/^arena +waiting /m);
    expect((await berth(["--socket", test.socket, "show", "arena"])).stdout).toMatch(
      new RegExp(`^ +waiting +pid ${puppet.pid} \\(uid 65534\\) has the kernel hold`, "m"),
    );
    guard.free();
    await expect.poll(() => guard.waiting).toBe(1);
    guard.decide("done");
    expect(await changed(watcher)).not.toHaveProperty("wait");
    (await take(test)).peer[Symbol.dispose]();
  });

  it("is not ended where the guard was only slow", async () => {
    const guard = new HeldUpGuard();
    const { test, puppet } = await released(guard);
    await using _ = test;
    await using __ = puppet;
    guard.decide("stuck");
    await new Promise(setImmediate);
    guard.free();
    await expect.poll(() => guard.waiting).toBe(1);
    guard.decide("done");
    (await take(test)).peer[Symbol.dispose]();
    expect(await puppet.do("result = 1")).toBe(1);
    expect(test.log.map(({ event }) => event)).not.toContain("tenant-ended");
  });
});

it("a socket that nobody has had is set right without the guard", async () => {
  const guard = new HeldUpGuard();
  await using test = await startBroker(arena(), { guard });
  test.folder.write({ "config/arena.toml": arena('receive-buffer = "64K"')["arena.toml"] ?? "" });
  test.broker.reload();
  const { peer } = await take(test);
  expect(socketOption(peer.fds[0]?.fd ?? -1, SOL_SOCKET, SO_RCVBUF, native)).toBe(2 * 65_536);
  expect(guard.owners).toEqual([]);
  peer[Symbol.dispose]();
});
