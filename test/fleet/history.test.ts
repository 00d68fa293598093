/** What happens, what happened, and why: `watch`, `events` and `explain`, with a real etcd and made-up hosts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { describe, expect, it, vi } from "vitest";
import {
  eventChange,
  followEvents,
  MOST_EVENTS,
  pruneSometimes,
  readEvents,
} from "../../packages/fleet/src/fleet/events.ts";
import {
  allocate,
  Compacted,
  cordonHost,
  type Entry,
  EtcdClient,
  Fleet,
  type FleetChange,
  Keys,
  release,
  uncordonHost,
  watchFleet,
} from "../../packages/fleet/src/index.ts";
import { shareEtcd, type TestEtcd } from "../support/fleet/etcd.ts";
import { fleetCommand, runFleet } from "../support/fleet/host.ts";
import { addHost, report, setOf } from "../support/fleet/made-up.ts";
import { needs } from "../support/needs.ts";

describe("the history of a fleet", { ...needs("etcd"), timeout: 60_000 }, () => {
  let etcd: TestEtcd;
  let client: EtcdClient;
  shareEtcd((...both) => {
    [etcd, client] = both;
  });

  const run = (keys: Keys, ...args: string[]) => runFleet(etcd.endpoint, ...args, "--prefix", keys.prefix);
  const usual = { pools: [{ first: 1000, last: 1003 }] };
  /** Events of the hosts h0, h1, …: 50 in a transaction. */
  const addEvents = async (keys: Keys, count: number): Promise<void> => {
    for (let at = 0; at < count; at += 50) {
      const changes = Array.from({ length: 50 }, (_, one) => eventChange(keys, "joined", { host: `h${at + one}` }));
      await client.commit([], changes);
    }
  };

  it("has what was done, in that order, with the reason", async () => {
    const keys = new Keys("/history/");
    await addHost(client, keys, "h1", usual);
    await addHost(client, keys, "h2", { ...usual, taints: ["old"] });
    const fleet = new Fleet(client, keys);
    await fleet.apply(setOf("duel"));
    await report(client, keys, "duel", { server: "lease-1" });
    await allocate(client, keys, "duel");
    await release(client, keys, "duel-1");
    await cordonHost(client, keys, "h1");
    await cordonHost(client, keys, "h1"); // is none: it was closed
    await fleet.apply(setOf("late", { count: 2 }));
    await uncordonHost(client, keys, "h1");
    await fleet.remove("duel");

    const told = (await readEvents(client, keys)).map(({ kind, berth, host, why }) => [kind, berth, host, why]);
    const taint = "not h2: has the taint old, which the set does not tolerate";
    const closed = "not h1: is closed to new berths; berth-fleet uncordon opens it";
    expect(told).toEqual([
      ["placed", "duel-1", "h1", taint],
      ["allocated", "duel-1", "h1", undefined],
      ["released", "duel-1", undefined, undefined],
      ["closed", undefined, "h1", undefined],
      ["refused", "late-1", undefined, `${closed}; ${taint}, and 1 more berths`],
      ["opened", undefined, "h1", undefined],
      ["removed", "duel-1", "h1", undefined],
    ]);
    const shown = (await run(keys, "events", "--berth", "duel-1")).out.trimEnd().split("\n");
    expect(shown).toHaveLength(4);
    expect(shown[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}placed {5}duel-1 on h1: not h2: has the taint old/);
    expect((await run(keys, "events", "--host", "h1")).out).toMatch(/Z {2}closed {5}host h1$/m);
    const [first = ""] = (await run(keys, "events", "--json")).out.split("\n");
    expect(JSON.parse(first)).toMatchObject({ kind: "placed", set: "duel", berth: "duel-1", host: "h1" });
  });

  it("a berth that another host gets was replaced", async () => {
    const keys = new Keys("/lost/");
    await addHost(client, keys, "h1", usual);
    const fleet = new Fleet(client, keys);
    await fleet.apply(setOf("duel", { "on-lost": "replace" }));
    await client.commit([], [{ remove: { key: keys.of({ kind: "host", host: "h1" }) } }]);
    await addHost(client, keys, "h2", usual);
    await fleet.replaceLost(() => true);
    const events = await readEvents(client, keys);
    expect(events.at(-1)).toMatchObject({ kind: "replaced", berth: "duel-1", from: "h1", host: "h2" });
  });

  it("keeps the newest, and removes the others", async () => {
    const keys = new Keys("/many/");
    await addEvents(keys, MOST_EVENTS + 150);
    await pruneSometimes(client, keys, 0.5);
    expect(await readEvents(client, keys)).toHaveLength(MOST_EVENTS + 150);
    await pruneSometimes(client, keys, 0);
    const kept = await readEvents(client, keys);
    expect(kept).toHaveLength(MOST_EVENTS);
    expect(kept.at(-1)?.host).toMatch(/^h11\d\d$/);
    expect(kept.map(({ host }) => host)).not.toContain("h0");
  });

  it("a refused placement, a release, and a host that is closed or opened remove the oldest, too", async () => {
    const keys = new Keys("/oldest/");
    const fleet = new Fleet(client, keys);
    await addHost(client, keys, "h1", { pools: [] });
    await client.commit([], [{ put: keys.of({ kind: "allocation", berth: "duel-1" }), value: "{}" }]);
    await addEvents(keys, MOST_EVENTS);
    const random = vi.spyOn(Math, "random").mockReturnValue(0);
    for (const act of [
      () => fleet.apply(setOf("duel")),
      () => release(client, keys, "duel-1"),
      () => cordonHost(client, keys, "h1"),
      () => uncordonHost(client, keys, "h1"),
    ]) {
      await act();
      expect(await readEvents(client, keys)).toHaveLength(MOST_EVENTS);
    }
    random.mockRestore();
    const newest = (await readEvents(client, keys)).slice(-4).map(({ kind }) => kind);
    expect(newest).toEqual(["refused", "released", "closed", "opened"]);
  });

  it("events --follow prints what happened, and then each event, until Ctrl-C", async () => {
    const keys = new Keys("/following/");
    await addHost(client, keys, "h1", usual);
    await cordonHost(client, keys, "h1");
    const options = ["--json", "--etcd", etcd.endpoint, "--prefix", keys.prefix];
    const following = spawn(...fleetCommand("events", "--follow", ...options), {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface(following.stdout)[Symbol.asyncIterator]();
    expect(JSON.parse((await lines.next()).value ?? "")).toMatchObject({ kind: "closed", host: "h1" });
    await uncordonHost(client, keys, "h1");
    expect(JSON.parse((await lines.next()).value ?? "")).toMatchObject({ kind: "opened", host: "h1" });
    const closed = once(following, "close");
    following.kill("SIGINT");
    expect(await closed).toEqual([0, null]);
  });

  it("a watch has what is there, and then each change of a row", async () => {
    const keys = new Keys("/watching/");
    await addHost(client, keys, "h1", usual);
    const fleet = new Fleet(client, keys);
    await fleet.apply(setOf("duel"));
    const seen: string[] = [];
    const stop = new AbortController();
    const text = (change: FleetChange): string => {
      if ("host" in change) return `${change.event} ${change.host.name} ${change.host.cordoned}`;
      if (!("berth" in change)) return change.event;
      const { berth, state, players, allocated } = change.berth;
      return `${change.event} ${berth} ${state} ${players} ${allocated}`;
    };
    const watching = (async () => {
      for await (const change of watchFleet(client, keys, stop.signal)) seen.push(text(change));
    })();
    const reached = (line: string) => expect.poll(() => seen, { timeout: 30_000 }).toContain(line);
    await reached("present duel-1 null null false");
    expect(seen).toEqual(["present h1 false", "present duel-1 null null false"]);
    await report(client, keys, "duel", { server: "lease-1", players: 2 });
    await reached("changed duel-1 occupied 2 false");
    // The same again is no change.
    await report(client, keys, "duel", { server: "lease-1", players: 2 });
    await allocate(client, keys, "duel");
    await reached("changed duel-1 occupied 2 true");
    await cordonHost(client, keys, "h1");
    await reached("changed h1 true");
    await uncordonHost(client, keys, "h1");
    await client.commit([], [{ remove: { key: keys.of({ kind: "host", host: "h1" }) } }]);
    await reached("removed h1 false");
    await fleet.remove("duel");
    await reached("removed duel-1 occupied 2 true");
    expect(seen).toHaveLength(8);
    stop.abort();
    await watching;
  });

  it("berth-fleet watch prints lines, ends with Ctrl-C, and when nobody reads them any more", async () => {
    const keys = new Keys("/lines/");
    await addHost(client, keys, "h1", usual);
    await new Fleet(client, keys).apply(setOf("duel"));
    const options = ["--etcd", etcd.endpoint, "--prefix", keys.prefix];
    const start = (...more: string[]) =>
      spawn(...fleetCommand("watch", "duel", ...options, ...more), { stdio: ["ignore", "pipe", "inherit"] });
    const watching = start("--json");
    const lines = createInterface(watching.stdout)[Symbol.asyncIterator]();
    const { value } = await lines.next();
    expect(JSON.parse(String(value))).toMatchObject({ event: "present", berth: { berth: "duel-1", state: null } });
    const closed = once(watching, "close");
    watching.kill("SIGINT");
    expect(await closed).toEqual([0, null]);

    const unread = start();
    const [piece] = await once(unread.stdout, "data");
    expect(String(piece)).toMatch(/Z {2}duel-1: on h1: unknown; game=h1\.example\.org:1000\n$/);
    unread.stdout.destroy();
    const ended = once(unread, "close");
    // The first line that nobody reads.
    await report(client, keys, "duel", {});
    expect(await ended).toEqual([0, null]);
  });

  it("explains a berth that is placed, one that is not, and one that there is not", async () => {
    const keys = new Keys("/why/");
    await addHost(client, keys, "h1", { ...usual, memory: 100 });
    await new Fleet(client, keys).apply(setOf("big", { count: 2, memory: 80 }));
    const placed = await run(keys, "explain", "big-1");
    expect(placed).toMatchObject({ code: 0, err: "" });
    expect(placed.out).toMatch(/^big-1: on h1; now h1 is the best for it\n\S+ {2}placed {5}big-1 on h1\n$/);
    const missing = await run(keys, "explain", "big-2");
    expect(missing.out).toMatch(
      /^big-2: on no host; now no host can have it\n {2}not h1: has 20 B left; 80 B are wanted\n\S+ {2}refused {4}big-2: not h1/,
    );
    await addHost(client, keys, "h0", { ...usual, memory: 1000 });
    expect((await run(keys, "explain", "big-2")).out).toContain("  to place it: berth-fleet place big\n");
    const better = await run(keys, "explain", "big-1", "--json");
    expect(JSON.parse(better.out)).toMatchObject({
      ...{ berth: "big-1", set: "big", host: "h1" },
      now: { host: "h0", others: [{ host: "h1", why: expect.stringContaining("fits, but has only 100 B left") }] },
      events: [{ kind: "placed" }],
    });
    for (const [berth, why] of [
      ["big-3", "set big has 2 berths, so there is no big-3"],
      ["small-1", "no set has a berth small-1"],
      ["big", "no set has a berth big"],
    ] as const)
      expect(await run(keys, "explain", berth)).toMatchObject({ code: 1, err: expect.stringContaining(why) });
  });
});

it("no event comes twice where etcd has forgotten what happened and is read again", async () => {
  const keys = new Keys();
  const entry = (revision: number): Entry => ({
    ...{ key: keys.of({ kind: "event", event: String(revision) }), revision },
    value: JSON.stringify({ time: "2026-01-31T12:00:00.000Z", kind: "joined", host: `h${revision}` }),
  });
  const etcd = new EtcdClient(["http://127.0.0.1:1"]);
  const lists = [
    [entry(3), entry(2)],
    [entry(5), entry(2), entry(3), entry(4)],
  ];
  etcd.read = async (...ranges) => ({ revision: 5, lists: Object.assign(ranges.map(() => lists.shift())) });
  etcd.watch = async function* () {
    if (lists.length === 0) yield [{ kind: "put", entry: entry(6) }];
    else {
      yield [{ kind: "put", entry: entry(4) }];
      throw new Compacted("etcd has no such events");
    }
  };
  const stop = new AbortController();
  const hosts: (string | undefined)[] = [];
  for await (const { host } of followEvents(etcd, keys, stop.signal)) {
    hosts.push(host);
    if (host === "h6") stop.abort();
  }
  expect(hosts).toEqual(["h2", "h3", "h4", "h5", "h6"]);
});
