/** A server with the official client of Agones, as it is, started by berth-launch on a berth. */
import { describe, expect, it } from "vitest";
import { type AgonesServer, launchServer, needsClient, startSdk } from "../../support/fleet/sdk.ts";

const user = `user = ${process.getuid?.()}\n`;

describe("the official client", { ...needsClient(), timeout: 60_000 }, () => {
  it("is ready, allocated, reserved and ready again: the broker hears it, and its watch tells each state", async () => {
    await using scene = await startSdk(user);
    await using server = await launchServer(scene);
    const { watcher, test } = scene;
    await server.call("watchGameServer");
    await server.watchedUntil("Scheduled");
    expect(test.broker.berths[0]?.ready).toBe(false);
    await server.call("ready");
    expect((await watcher.until(({ event }) => event === "ready")).berth).toMatchObject({ ready: true });
    await server.call("allocate");
    expect(test.broker.berths[0]?.status).toBe("Allocated");
    await server.call("reserve", 1);
    expect(test.broker.berths[0]?.status).toBe("Reserved");
    await watcher.until(({ event, berth }) => event === "status" && berth.status === undefined);
    await server.call("allocate");
    const states = await server.watchedUntil("Allocated");
    expect([...new Set(states)]).toEqual(["Scheduled", "Ready", "Allocated", "Reserved"]);
  });

  it("reads its berth as a GameServer, with the labels and annotations that it sets", async () => {
    await using scene = await startSdk(`${user}watchdog = "30s"\n`);
    await using server = await launchServer(scene);
    await server.call("setLabel", "map", "q3dm17");
    await server.call("setAnnotation", "note", "a b\nc");
    const [berth] = scene.test.broker.berths;
    const port = Number(/\d+$/.exec(berth?.descriptors[0]?.address ?? "")?.[0]);
    expect(await server.call("getGameServer")).toMatchObject({
      objectMeta: {
        name: "arena",
        namespace: "default",
        uid: berth?.lease?.id,
        generation: 1,
        creationTimestamp: Math.floor((berth?.lease?.since ?? 0) / 1_000_000),
        labelsMap: [["agones.dev/sdk-map", "q3dm17"]],
        annotationsMap: [["agones.dev/sdk-note", "a b\nc"]],
      },
      spec: { health: { disabled: false, periodSeconds: 30, failureThreshold: 1 } },
      status: { state: "Scheduled", address: "127.0.0.1", portsList: [{ name: "game", port }] },
    });
    await expect(server.call("setLabel", "a/b", "x")).rejects.toThrow(/^3: a key is at most 63/);
  });

  it("tracks players, counters and lists, and the broker knows who plays", async () => {
    await using scene = await startSdk(user);
    await using server = await launchServer(scene);
    const players = async (count: number, max: number): Promise<void> => {
      await scene.watcher.until(
        ({ event, berth: { players } }) => event === "players" && players?.count === count && players.max === max,
      );
    };
    await counters(server);
    await lists(server);
    expect(await server.call("beta.appendListValue", "players", "eve")).toBeNull();
    await players(1, 1000);
    await server.call("alpha.setPlayerCapacity", 2);
    expect(await server.call("alpha.playerConnect", "alice")).toBe(true);
    expect(await server.call("alpha.playerConnect", "alice")).toBe(false);
    expect(await server.call("alpha.playerConnect", "bob")).toBe(true);
    await expect(server.call("alpha.playerConnect", "carol")).rejects.toThrow(/^11: /);
    expect(await server.call("alpha.getPlayerCount")).toBe(2);
    expect(await server.call("alpha.getPlayerCapacity")).toBe(2);
    expect(await server.call("alpha.isPlayerConnected", "bob")).toBe(true);
    expect(await server.call("alpha.getConnectedPlayers")).toEqual(["alice", "bob"]);
    await players(2, 2);
    expect(await server.call("alpha.playerDisconnect", "alice")).toBe(true);
    expect(await server.call("alpha.playerDisconnect", "alice")).toBe(false);
    await players(1, 2);
    expect(await server.call("getGameServer")).toMatchObject({
      status: {
        players: { count: 1, capacity: 2, idsList: ["bob"] },
        countersMap: [["rooms", { count: 3, capacity: 5 }]],
        listsMap: [
          ["maps", { capacity: 2, valuesList: ["q3dm17"] }],
          ["players", { capacity: 1000, valuesList: ["eve"] }],
        ],
      },
    });
  });

  it("Shutdown stops it as the berth says, and the sockets stay for the next", async () => {
    await using scene = await startSdk(`${user}stop-signal = "SIGINT"\n`);
    await using server = await launchServer(scene);
    await server.call("ready");
    await server.call("shutdown");
    expect(await server.ended).toEqual([null, "SIGINT"]);
    const { berth } = await scene.watcher.until(({ event }) => event === "released");
    expect(berth).toMatchObject({ state: "vacant", descriptors: [{ name: "game" }] });
    await using next = await launchServer(scene);
    // Nothing of the last one is left.
    expect(await next.call("getGameServer")).toMatchObject({ status: { state: "Scheduled" } });
  });

  it("is aborted if it has called Health once and then is silent; not while it calls, nor if it never did", async () => {
    await using scene = await startSdk(`${user}watchdog = "1s"\n`);
    await using server = await launchServer(scene);
    await server.call("ready");
    const end = performance.now() + 2500;
    await expect.poll(() => performance.now() > end, { timeout: 30_000 }).toBe(true);
    expect(server.child.signalCode).toBeNull();
    await server.call("health");
    expect(await server.ended).toEqual([null, "SIGABRT"]);
    expect(scene.log.join("\n")).toContain("has not called Health for 1 s");
  });

  it("stays allocated when the SDK is started again, and can call it again", async () => {
    await using scene = await startSdk(user);
    await using server = await launchServer(scene);
    await server.call("allocate");
    await scene.restartSdk();
    // The client connects again by itself; calls fail until then.
    const ask = (): Promise<unknown> => server.call("getGameServer").catch(() => undefined);
    await expect.poll(ask, { timeout: 30_000 }).toMatchObject({ status: { state: "Allocated" } });
    await server.call("ready");
    expect(await ask()).toMatchObject({ status: { state: "Ready" } });
    expect(scene.test.broker.berths[0]?.status).toBeUndefined();
  });

  it("goes on when the SDK ends, although it has called Health", async () => {
    await using scene = await startSdk(`${user}watchdog = "3s"\n`);
    await using server = await launchServer(scene);
    await server.call("ready");
    await server.call("health");
    await server.call("setLabel", "after", "health"); // it has come, too
    await scene.endSdk();
    const end = performance.now() + 4500;
    await expect.poll(() => performance.now() > end, { timeout: 30_000 }).toBe(true);
    expect(server.child.exitCode ?? server.child.signalCode).toBeNull();
    expect(scene.test.broker.berths[0]).toMatchObject({ state: "occupied", ready: true });
  });
});

async function counters(server: AgonesServer): Promise<void> {
  expect(await server.call("beta.getCounterCapacity", "rooms")).toBe(1000);
  await server.call("beta.setCounterCapacity", "rooms", 5);
  await server.call("beta.setCounterCount", "rooms", 2);
  await server.call("beta.incrementCounter", "rooms", 3);
  await expect(server.call("beta.incrementCounter", "rooms", 1)).rejects.toThrow(/^11: count 6 of rooms/);
  await server.call("beta.decrementCounter", "rooms", 2);
  expect(await server.call("beta.getCounterCount", "rooms")).toBe(3);
}

async function lists(server: AgonesServer): Promise<void> {
  await server.call("beta.setListCapacity", "maps", 2);
  expect(await server.call("beta.getListCapacity", "maps")).toBe(2);
  await server.call("beta.appendListValue", "maps", "q3dm6");
  await server.call("beta.appendListValue", "maps", "q3dm17");
  await expect(server.call("beta.appendListValue", "maps", "q3dm6")).rejects.toThrow(/^6: /);
  await expect(server.call("beta.appendListValue", "maps", "q3dm1")).rejects.toThrow(/^11: /);
  expect(await server.call("beta.getListValues", "maps")).toEqual(["q3dm6", "q3dm17"]);
  expect(await server.call("beta.listContains", "maps", "q3dm6")).toBe(true);
  await server.call("beta.deleteListValue", "maps", "q3dm6");
  await expect(server.call("beta.deleteListValue", "maps", "q3dm6")).rejects.toThrow(/^5: /);
  expect(await server.call("beta.getListLength", "maps")).toBe(1);
}
