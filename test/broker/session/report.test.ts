/** The method Report of a real broker: who may, what of it is shown, and what is refused. */
import { describe, expect, it } from "vitest";
import { acquire } from "../../../src/client/acquire.ts";
import { connect } from "../../../src/client/connect.ts";
import { startBroker } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";
import { RawPeer } from "../../support/peer.ts";
import { Watcher } from "../../support/watcher.ts";

const query = '[server]\nquery = { type = "quake3" }\n';
const lobby = { "lobby.toml": `[sockets.chat]\nlisten = ["tcp://127.0.0.1:0"]\n${query}` };

it("is shown by List, Watch and the metrics, until the lease ends", async () => {
  await using test = await startBroker(lobby);
  await using watcher = await Watcher.connect(test.socket, 1);
  using client = await connect({ socket: test.socket });
  const port = Number(/\d+$/.exec(test.broker.berths[0]?.descriptors[0]?.address ?? "")?.[0]);
  expect((await client.berths())[0]).toMatchObject({ query: { type: "quake3", port } });
  const tenancy = await acquire("lobby", { socket: test.socket });
  const before = Date.now() * 1000;
  await client.report("lobby", { players: 7, max: 16, name: "Arena", map: "q3dm17" });
  const { berth } = await watcher.until(({ event }) => event === "players");
  expect(berth.players).toEqual({ count: 7, max: 16, name: "Arena", map: "q3dm17", at: expect.any(Number) });
  expect(berth.players?.at).toBeGreaterThanOrEqual(before);
  expect((await client.berths())[0]?.players).toEqual(berth.players);
  const values = new Map<string, unknown>();
  for await (const { name, value } of client.metrics()) values.set(name, value);
  expect(values.get("io.berthd.Broker.Players")).toBe(7);
  expect(values.get("io.berthd.Broker.PlayersLimit")).toBe(16);
  await tenancy.release();
  const released = await watcher.until(({ event }) => event === "released");
  expect(released.berth.players).toBeUndefined();
  expect(test.log.filter(({ message }) => /report|players|q3dm17/.test(message))).toEqual([]);
});

it.each([
  ["players", { players: -1 }],
  ["players", { players: 1_000_001 }],
  ["players", { players: 1.5 }],
  ["max", { players: 1, max: -7 }],
  ["name", { players: 1, name: "a\nb" }],
  ["name", { players: 1, name: "\u202eabc" }],
  ["map", { players: 1, map: "m".repeat(129) }],
  ["rank", { players: 1, rank: "none" }],
])("%s of %j is InvalidParameter, and nothing is kept", async (parameter, report) => {
  await using test = await startBroker(lobby);
  await using _tenancy = await acquire("lobby", { socket: test.socket });
  using peer = await RawPeer.connect(test.socket);
  expect(await peer.call("Report", { berth: "lobby", ...report })).toMatchObject({
    error: "org.varlink.service.InvalidParameter",
    parameters: { parameter },
  });
  expect(test.broker.berths[0]?.players).toBeUndefined();
});

it("a tenant's configuration is not outdated by what only the broker goes by, which is in force after a reload", async () => {
  await using test = await startBroker(lobby);
  await using _tenancy = await acquire("lobby", { socket: test.socket });
  const port = test.broker.berths[0]?.descriptors[0]?.address?.replace(/.*:/, "");
  const file = (more: string): void =>
    test.folder.write({ "config/lobby.toml": `[sockets.chat]\nlisten = ["tcp://127.0.0.1:0"]\n${more}` });
  file(`[observer]\nusers = [65534]\n[server]\nquery = { type = "a2s", port = 7 }\n`);
  test.broker.reload();
  expect(test.broker.berths[0]).toMatchObject({ query: { type: "a2s", port: 7 } });
  expect(test.broker.berths[0]?.outdated).toBeUndefined();
  file('[server]\ndrain = "queue"\ndrain-signal = "SIGUSR1"\nstop-signal = "SIGINT"\nstop-timeout = "1s"\n');
  test.broker.reload();
  expect(test.broker.berths[0]?.outdated).toBeUndefined();
  file("[server]\numask = '0077'\n");
  test.broker.reload();
  expect(test.broker.berths[0]).toMatchObject({ outdated: true });
  expect(test.broker.berths[0]?.descriptors[0]?.address).toContain(port);
});

describe("who may report and see (needs root, to be several users)", needs("root"), () => {
  const [OBSERVER, TENANT, STRANGER, EVERYWHERE] = [65_534, 65_533, 65_532, 65_531];
  const file = (more = ""): string =>
    `[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n[tenant]\nusers = [${TENANT}]\n${more}`;
  const berths = { "seen.toml": file(`[observer]\nusers = [${OBSERVER}]\n`), "other.toml": file() };
  const observers = { uids: [EVERYWHERE], gids: [], units: [] };

  const namesFor = async (socket: string, uid: number): Promise<unknown[]> => {
    using peer = await RawPeer.connect(socket, uid);
    const list = (await peer.call("List"))?.parameters["berths"];
    return Array.isArray(list) ? list.map((one: { name: string }) => one.name) : [];
  };

  it("an observer sees its berth and reports, but cannot take it", async () => {
    await using test = await startBroker(berths, { observers });
    await using _tenancy = await acquire("seen", { socket: test.socket });
    expect(await namesFor(test.socket, OBSERVER)).toEqual(["seen"]);
    expect(await namesFor(test.socket, EVERYWHERE)).toEqual(["other", "seen"]);
    expect(await namesFor(test.socket, TENANT)).toEqual(["other", "seen"]);
    expect(await namesFor(test.socket, STRANGER)).toEqual([]);
    for (const uid of [OBSERVER, EVERYWHERE]) {
      using peer = await RawPeer.connect(test.socket, uid);
      for (const method of ["Acquire", "Launch"])
        expect(await peer.call(method, { berth: "seen" })).toMatchObject({
          error: "org.varlink.service.PermissionDenied",
        });
      expect(peer.fds).toEqual([]);
    }
    using everywhere = await RawPeer.connect(test.socket, EVERYWHERE);
    // Nobody has this one, so there would be nothing to stop.
    expect(await everywhere.call("Stop", { berth: "other" })).toMatchObject({
      error: "org.varlink.service.PermissionDenied",
    });
    using observer = await RawPeer.connect(test.socket, OBSERVER);
    expect(await observer.call("Report", { berth: "seen", players: 3 })).toEqual({ parameters: {} });
    expect(test.broker.berths.find(({ name }) => name === "seen")?.players?.count).toBe(3);
  });

  it("an observer of all berths is told of events; an observer of one berth not of another's", async () => {
    await using test = await startBroker(berths, { observers });
    const watch = `${JSON.stringify({ method: "io.berthd.Broker.Watch", more: true })}\0`;
    using one = await RawPeer.connect(test.socket, OBSERVER);
    using all = await RawPeer.connect(test.socket, EVERYWHERE);
    for (const peer of [one, all]) await peer.send(watch);
    for (const name of ["other", "seen"])
      expect(await all.receive()).toMatchObject({ parameters: { event: "present", berth: { name } } });
    expect(await one.receive()).toMatchObject({ parameters: { event: "present", berth: { name: "seen" } } });
    await using _other = await acquire("other", { socket: test.socket });
    await using _seen = await acquire("seen", { socket: test.socket });
    expect(await all.receive()).toMatchObject({ parameters: { event: "acquired", berth: { name: "other" } } });
    expect(await one.receive()).toMatchObject({ parameters: { event: "acquired", berth: { name: "seen" } } });
  });

  it("who sees a berth but is no observer is refused; who does not see it learns nothing", async () => {
    await using test = await startBroker(berths);
    using tenant = await RawPeer.connect(test.socket, TENANT);
    expect(await tenant.call("Report", { berth: "seen", players: 3 })).toMatchObject({
      error: "org.varlink.service.PermissionDenied",
      parameters: { message: expect.stringContaining("[observer]") },
    });
    for (const uid of [STRANGER, OBSERVER]) {
      using peer = await RawPeer.connect(test.socket, uid);
      const there = JSON.stringify(await peer.call("Report", { berth: "other", players: 3 }));
      const missing = JSON.stringify(await peer.call("Report", { berth: "othre", players: 3 }));
      expect(there.replaceAll("other", "othre")).toBe(missing);
      expect(there).toContain("PermissionDenied");
      const bad = JSON.stringify(await peer.call("Report", { berth: "other", players: -3 }));
      expect(bad).toBe(there);
    }
    expect(test.broker.berths.map(({ players }) => players)).toEqual([undefined, undefined]);
  });
});
