/** Placing and allocating at the same time, with a real etcd and hosts that only exist there. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Allocated,
  allocate,
  EtcdClient,
  Fault,
  Fleet,
  Keys,
  release,
  writeBerthSet,
} from "../../packages/fleet/src/index.ts";
import { TestEtcd } from "../support/fleet/etcd.ts";
import { addHost, report, setOf } from "../support/fleet/made-up.ts";
import { needs } from "../support/needs.ts";

describe("many at the same time", { ...needs("etcd"), timeout: 120_000 }, () => {
  let etcd: TestEtcd;
  let clients: readonly EtcdClient[];
  beforeAll(async () => {
    etcd = await TestEtcd.start();
    clients = Array.from({ length: 8 }, () => new EtcdClient([etcd.endpoint]));
  }, 60_000);
  afterAll(async () => {
    for (const one of clients ?? []) one[Symbol.dispose]();
    await etcd[Symbol.asyncDispose]();
  });

  const client = (): EtcdClient => {
    const [first] = clients;
    if (first === undefined) throw new Error("there is no client");
    return first;
  };

  it("place every berth once, give no port twice, and go on where one has lost", async () => {
    const keys = new Keys("/placing/");
    for (const name of ["h1", "h2"])
      await addHost(client(), keys, name, { pools: [{ first: 100, last: 111 }], memory: 1000 });
    // All for the same set, which has two berths more than there are ports.
    const value = writeBerthSet(setOf("a", { count: 26 }));
    await client().commit([], [{ put: keys.of({ kind: "set", set: "a" }), value }]);
    const outcomes = await Promise.all(clients.map((one) => new Fleet(one, keys).place("a")));
    const placed = outcomes.flat().filter(({ explanation }) => explanation.host !== undefined);
    expect(placed.map(({ berth }) => berth).sort()).toEqual([...new Set(placed.map(({ berth }) => berth))].sort());
    expect(placed).toHaveLength(24);
    const { placements, bookings } = await new Fleet(client(), keys).view();
    const ports = [...placements.values()].map(({ record }) => `${record.host}:${record.ports["game"]}`);
    expect(new Set(ports).size).toBe(24);
    // What the hosts have booked is what was placed.
    for (const [host, { record }] of bookings) {
      const booked = Object.entries(record.berths).map(([berth, one]) => `${berth} ${one.ports}`);
      const there = [...placements.values()].filter((one) => one.record.host === host);
      expect(booked.sort()).toEqual(there.map((one) => `${one.record.berth} ${one.record.ports["game"]}`).sort());
    }
    const refused = outcomes.flat().find(({ explanation }) => explanation.host === undefined);
    expect(refused?.explanation.others).toEqual(
      ["h1", "h2"].map((host) => ({ host, why: "its pools have no free port" })),
    );
  });

  it("a berth gets the room that others make while the berths before it are placed", async () => {
    const keys = new Keys("/room/");
    await addHost(client(), keys, "h1", { memory: 20 });
    const fleet = new Fleet(client(), keys);
    await fleet.apply(setOf("old", { memory: 10, berth: {} }));
    // After the first berth of the new set is placed, the old set goes; the view from before shows no room.
    const meddling = new EtcdClient([etcd.endpoint]);
    const commit = meddling.commit.bind(meddling);
    let commits = 0;
    meddling.commit = async (...args) => {
      const done = await commit(...args);
      if (++commits === 1) await fleet.remove("old");
      return done;
    };
    using _ = meddling;
    await client().commit(
      [],
      [
        {
          put: keys.of({ kind: "set", set: "new" }),
          value: writeBerthSet(setOf("new", { count: 2, memory: 10, berth: {} })),
        },
      ],
    );
    const outcomes = await new Fleet(meddling, keys).place("new");
    expect(outcomes.map(({ berth, explanation }) => [berth, explanation.host])).toEqual([
      ["new-1", "h1"],
      ["new-2", "h1"],
    ]);
  });

  it("get every berth that is ready, and none twice; then they are told why there is none", async () => {
    const keys = new Keys("/allocating/");
    await addHost(client(), keys, "h1", { pools: [{ first: 1000, last: 1100 }] });
    await new Fleet(client(), keys).apply(setOf("arena", { count: 30 }));
    await report(client(), keys, "arena", { server: "lease-1" });
    const got: Allocated[] = [];
    const why: string[] = [];
    await Promise.all(
      clients.map(async (one) => {
        for (;;) {
          try {
            got.push(await allocate(one, keys, "arena"));
          } catch (error) {
            if (!(error instanceof Fault)) throw error;
            why.push(error.message);
            return;
          }
        }
      }),
    );
    expect(got).toHaveLength(30);
    expect(new Set(got.map(({ berth }) => berth)).size).toBe(30);
    expect(got[0]).toMatchObject({ host: "h1", addresses: ["h1.example.org"], ports: { game: expect.any(Number) } });
    expect(new Set(why)).toEqual(new Set(["no berth of arena is ready: 30 allocated, 0 without a server"]));
  });

  it("share berths for as long as there are free places, and never give a place twice", async () => {
    const keys = new Keys("/sharing/");
    await addHost(client(), keys, "h1", { pools: [{ first: 1000, last: 1100 }] });
    await new Fleet(client(), keys).apply(setOf("lobby", { count: 3 }));
    const get = (players: number, from: "any" | "ready" | "shared" = "any") =>
      allocate(client(), keys, "lobby", { players, from }).then(
        ({ berth, free }) => ({ berth, free }),
        (error) => String(error.message),
      );
    await report(client(), keys, "lobby", { server: "lease-1", players: 0 });
    const unknown = "3 without 3 free places or whose servers do not report any";
    expect(await get(3)).toBe(`no berth of lobby is ready: 0 allocated, 0 without a server, ${unknown}`);
    await report(client(), keys, "lobby", { server: "lease-1", players: 1, max: 11 });
    expect(await get(3, "shared")).toContain("no berth of lobby is ready");

    const got: Allocated[] = [];
    await Promise.all(
      clients.map(async (one) => {
        for (;;) {
          try {
            got.push(await allocate(one, keys, "lobby", { players: 3 }));
          } catch (error) {
            if (!(error instanceof Fault)) throw error;
            expect(error.code).toBe("NONE_READY");
            return;
          }
        }
      }),
    );
    // 10 places are free on each: three times three.
    const freeOn = (berth: string) => got.filter((one) => one.berth === berth).map(({ free }) => free);
    for (const berth of ["lobby-1", "lobby-2", "lobby-3"]) expect(freeOn(berth).sort()).toEqual([1, 4, 7]);
    // One player more has room. Who wants a berth alone gets none of these, also after a new report.
    expect(await get(1, "ready")).toContain("no berth of lobby is ready");
    expect(await get(1)).toMatchObject({ free: 0 });
    await expect(allocate(client(), keys, "lobby")).rejects.toThrow("3 allocated");
    // The next server of a berth has all its places, and may be somebody's alone.
    await report(client(), keys, "lobby", { server: "lease-2", players: 0, max: 10 });
    expect(await get(8)).toMatchObject({ free: 2 });
    const { berth } = await allocate(client(), keys, "lobby");
    expect(await get(8)).not.toMatchObject({ berth });
  });

  it("an allocation ends with its server, with its release, and with its placement", async () => {
    const keys = new Keys("/ending/");
    await addHost(client(), keys, "h1", { pools: [{ first: 1000, last: 1100 }], labels: { region: "eu" } });
    const fleet = new Fleet(client(), keys);
    await fleet.apply(setOf("duel"));
    const get = (labels: Record<string, string> = {}) =>
      allocate(client(), keys, "duel", { labels }).then(
        ({ berth }) => berth,
        (error) => String(error.message),
      );
    const none = "no berth of duel is ready: 0 allocated, 1 without a server";
    expect(await get()).toBe(none);
    await report(client(), keys, "duel", { state: "draining", server: "lease-1" });
    expect(await get()).toBe(none);
    await report(client(), keys, "duel", { server: "lease-1" });
    expect(await get({ region: "us" })).toBe(
      "no berth of duel is ready: 0 allocated, 0 without a server, 1 on hosts without these labels",
    );
    expect(await get({ region: "eu" })).toBe("duel-1");
    const taken = "no berth of duel is ready: 1 allocated, 0 without a server";
    expect(await get()).toBe(taken);
    await report(client(), keys, "duel", { server: "lease-1", players: 3 });
    expect(await get()).toBe(taken);

    await report(client(), keys, "duel", { server: "lease-2" });
    expect(await get()).toBe("duel-1");
    expect(await get()).toBe(taken);

    await release(client(), keys, "duel-1");
    expect(await get()).toBe("duel-1");

    await fleet.remove("duel");
    await expect(release(client(), keys, "duel-1")).rejects.toThrow("duel-1 is not allocated");
    await fleet.apply(setOf("duel"));
    // The report is of the former generation.
    expect(await get()).toBe(none);
    await report(client(), keys, "duel", { server: "lease-2" });
    expect(await get()).toBe("duel-1");
  });
});
