/** Hazards 6 and 12: short of descriptors, or flooded by one user, the broker serves the others. */
import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { isAlive } from "../../support/attacks/vitals.ts";
import { type BrokerProcess, spawnBroker } from "../../support/broker.ts";
import { openFds, settledFds } from "../../support/fds.ts";
import { childrenOf } from "../../support/guards.ts";
import { needs } from "../../support/needs.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { connected, freePort } from "../../support/ports.ts";
import type { RawReply } from "../../support/puppet.ts";
import { limitedTo } from "../../support/wrap.ts";

const LIMIT_REACHED = "io.berthd.Broker.LimitReached";

const berthOn = (port: number) => ({
  "a.toml": `[sockets.a]\nlisten = ["tcp://127.0.0.1:${port}"]\n[tenant]\nusers = [65533, 65534]`,
});
const berth = berthOn(0);

async function smallBroker(port = 0): Promise<BrokerProcess> {
  return await spawnBroker(berthOn(port), [], limitedTo(64));
}

/** Connections that stay: watching when `busy`. Those the broker refuses are among them. */
async function crowd(broker: BrokerProcess, count: number, busy: boolean, uid?: number): Promise<Disposable> {
  const peers: RawPeer[] = [];
  for (let n = 0; n < count; n++) {
    const peer = await RawPeer.connect(broker.socket, uid);
    peers.push(peer);
    // A watcher has had its first event, so the broker knows what it is; or it has been refused.
    if (busy && (await peer.send(frame("Watch", {}, { more: true })))) await peer.receive();
  }
  return {
    [Symbol.dispose]: () => {
      for (const peer of peers) peer.close();
    },
  };
}

async function served(broker: BrokerProcess, uid?: number): Promise<void> {
  using peer = await RawPeer.connect(broker.socket, uid);
  expect((await peer.call("List"))?.parameters["berths"]).toHaveLength(1);
}

describe("with at most 64 descriptors", () => {
  it("60 idle clients block no other client, and a disconnected tenant keeps its berth", async () => {
    await using broker = await smallBroker();
    using tenant = await RawPeer.connect(broker.socket);
    const lease = (await tenant.call("Acquire", { berth: "a" }))?.parameters["lease"];
    for (let round = 0; round < 3; round++) {
      using _ = await crowd(broker, 60, false);
      await served(broker);
    }
    expect(await tenant.receive()).toBeUndefined();
    await broker.logged(({ event }) => event === "evicted");
    using again = await RawPeer.connect(broker.socket);
    expect((await again.call("Acquire", { berth: "a" }))?.parameters["lease"]).toBe(lease);
    expect(again.fds).toHaveLength(1);
  });

  it("the process that keeps copies of the sockets ends with the broker", async () => {
    await using broker = await smallBroker();
    using tenant = await RawPeer.connect(broker.socket);
    expect((await tenant.call("Acquire", { berth: "a" }))?.error).toBeUndefined();
    const [zygote = 0] = childrenOf(broker.pid, "berth-guard");
    await expect.poll(() => childrenOf(zygote, "berth-guard-k")).toHaveLength(1);
    const [keeper = 0] = childrenOf(zygote, "berth-guard-k");
    broker.child.kill("SIGKILL");
    await broker.exited;
    await expect.poll(() => isAlive(keeper)).toBe(false);
  });

  it("watchers beyond the limit are refused with a reason, and held sockets stay open", async () => {
    const port = await freePort();
    await using broker = await smallBroker(port);
    using _ = await crowd(broker, 40, true);
    const more: RawPeer[] = [];
    let reply: RawReply | undefined;
    while (reply?.error === undefined && more.length < 20) {
      const peer = await RawPeer.connect(broker.socket);
      more.push(peer);
      if (await peer.send(frame("Watch", {}, { more: true }))) reply = await peer.receive();
    }
    for (const peer of more) peer.close();
    expect(reply).toMatchObject({
      error: LIMIT_REACHED,
      parameters: { limit: "descriptors", message: expect.stringContaining("no descriptor left") },
    });
    (await connected(port)).destroy();
  });

  it(
    "one user's busy connections make room for users who have fewer (needs root, to be three users)",
    needs("root"),
    async () => {
      await using broker = await smallBroker();
      using _ = await crowd(broker, 60, true, 65534);
      await served(broker);
      await served(broker, 65533);
    },
  );

  it(
    "accept() without a free descriptor is said once, drops nothing, and goes on when there is one",
    needs("prlimit"),
    async () => {
      await using broker = await smallBroker();
      const open = new Set((await settledFds(broker.pid)).map((line) => Number.parseInt(line, 10)));
      let lowest = 0;
      while (open.has(lowest)) lowest++;
      const limit = (soft: number) => execFileSync("prlimit", ["--pid", String(broker.pid), `--nofile=${soft}:64`]);
      limit(lowest);
      const waiting = [await RawPeer.connect(broker.socket), await RawPeer.connect(broker.socket)];
      for (const peer of waiting) peer.trySend('{"method":"io.berthd.Broker.List"}\0');
      const said = await broker.logged(({ event }) => event === "starved");
      expect(said.message).toMatch(/EMFILE: connections wait until descriptors are free; raise RLIMIT_NOFILE/);
      // It looks again every 50 ms: a third connection, and time for several looks.
      waiting.push(await RawPeer.connect(broker.socket));
      const looks = performance.now() + 300;
      await expect.poll(() => performance.now(), { interval: 20 }).toBeGreaterThan(looks);
      limit(64);
      expect((await waiting[0]?.receive())?.parameters["berths"]).toHaveLength(1);
      expect((await waiting[1]?.receive())?.parameters["berths"]).toHaveLength(1);
      for (const peer of waiting) peer.close();
      await served(broker);
      expect(broker.log.filter(({ event }) => event === "starved")).toHaveLength(1);
      const now = new Set(openFds(broker.pid).map((line) => Number.parseInt(line, 10)));
      for (const fd of open) expect(now.has(fd)).toBe(true);
    },
  );
});

describe("a user's own limit", () => {
  it("refuses one connection too many, says how many there are, and ends with one of them", async () => {
    await using broker = await spawnBroker(berth, ["--max-connections", "5"]);
    {
      using _ = await crowd(broker, 5, true);
      using sixth = await RawPeer.connect(broker.socket);
      expect(await sixth.receiveAll()).toMatchObject([
        {
          error: LIMIT_REACHED,
          parameters: { limit: "connections", message: `uid ${process.getuid?.()} has 5 connections open already` },
        },
      ]);
    }
    // It sees them go one by one.
    await expect
      .poll(async () => {
        using peer = await RawPeer.connect(broker.socket);
        return (await peer.call("List"))?.error;
      })
      .toBeUndefined();
  });

  it("costs its oldest idle connection instead, where there is one", async () => {
    await using broker = await spawnBroker(berth, ["--max-connections", "3"]);
    using first = await RawPeer.connect(broker.socket);
    using second = await RawPeer.connect(broker.socket);
    await second.call("List");
    await first.call("List");
    using third = await RawPeer.connect(broker.socket);
    await third.call("List");
    await served(broker);
    expect(await second.receive()).toBeUndefined();
    expect((await first.call("List"))?.error).toBeUndefined();
  });

  it(
    "of one uid is no other's: a flood leaves the rest alone (needs root, to be several users)",
    needs("root"),
    async () => {
      await using broker = await spawnBroker(berth, ["--max-connections", "20"]);
      using flood = await crowd(broker, 300, true, 65534);
      expect(flood).toBeDefined();
      await served(broker);
      await served(broker, 65533);
      expect(broker.log.filter(({ event, uid }) => event === "refused" && uid !== 65534)).toEqual([]);
    },
  );
});
