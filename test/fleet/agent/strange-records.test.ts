/** Records that do not fit each other, or are no berth files: they are left alone, and all others are served. */
import { describe, expect, it } from "vitest";
import { followOrders, type Orders } from "../../../packages/fleet/src/agent/orders.ts";
import { EtcdClient, Fleet, Keys } from "../../../packages/fleet/src/index.ts";
import { shareEtcd, type TestEtcd } from "../../support/fleet/etcd.ts";
import { addHost, setOf } from "../../support/fleet/made-up.ts";
import { needs } from "../../support/needs.ts";

describe("records that are about something else than their keys", { ...needs("etcd"), timeout: 60_000 }, () => {
  let etcd: TestEtcd;
  let client: EtcdClient;
  shareEtcd((...both) => {
    [etcd, client] = both;
  });

  const put = async (key: string, value: object): Promise<void> => {
    await client.commit([], [{ put: key, value: JSON.stringify(value) }]);
  };

  it("are problems of the view, and do not have a berth replaced again and again", async () => {
    const keys = new Keys("/strange/");
    const pools = [{ first: 100, last: 199 }];
    for (const name of ["h1", "h2", "h3"]) await addHost(client, keys, name, { pools });
    await new Fleet(client, keys).apply(setOf("a", { "on-lost": "replace" }));
    await new Fleet(client, keys).apply(setOf("b", { "on-lost": "replace", count: 0 }));
    const lost = { host: "gone", generation: 1, ports: { game: 1 }, onLost: "replace" };
    await put("/strange/placements/zz-1", { ...lost, berth: "a-1", set: "a" });
    await put("/strange/placements/b-1", { ...lost, berth: "b-1", set: "a" });
    await put("/strange/placements/a-01", { ...lost, berth: "a-01", set: "a" });
    await put("/strange/placements/b-2", { ...lost, berth: "b-2", set: "b" }); // nothing is wrong with this one
    await put("/strange/hosts/h4", { ...JSON.parse(await textAt("/strange/hosts/h1")), name: "h1" });
    await put("/strange/sets/c", { name: "a", berth: {} });

    const bounded = new EtcdClient([etcd.endpoint]);
    using _ = bounded;
    const commit = bounded.commit.bind(bounded);
    let commits = 0;
    bounded.commit = (...args) => {
      if (++commits > 20) throw new Error("it does not end");
      return commit(...args);
    };
    const fleet = new Fleet(bounded, keys);
    const outcomes = await fleet.replaceLost((host) => host === "gone");
    expect(outcomes.map(({ berth }) => berth)).toEqual(["b-2"]);
    const view = await fleet.view();
    expect([...view.placements.keys()]).toEqual(["a-1", "b-2"]);
    expect([...view.hosts.keys()]).toEqual(["h1", "h2", "h3"]);
    expect([...view.sets.keys()]).toEqual(["a", "b"]);
    expect([...view.problems].sort()).toEqual([
      "/strange/hosts/h4: is about h1, and its key about h4",
      "/strange/placements/a-01: a-01 is no berth of the set a",
      "/strange/placements/b-1: b-1 is no berth of the set a",
      "/strange/placements/zz-1: is about a-1, and its key about zz-1",
      "/strange/sets/c: is about a, and its key about c",
    ]);
  });

  it("are no orders for a host", async () => {
    const keys = new Keys("/orders/");
    const order = { generation: 3, config: {} };
    await put("/orders/assignments/h1/one-1", { ...order, berth: "two-1" });
    await put("/orders/assignments/h1/one-2", { ...order, berth: "one-2" });
    await put("/orders/assignments/h1/one-2/hold", { berth: "two-1", generation: 3, by: "move" });
    const stop = new AbortController();
    const found: Orders[] = [];
    const problems: string[] = [];
    const seen = (orders: Orders): void => {
      found.push(orders);
      stop.abort();
    };
    await followOrders(client, keys, "h1", seen, (problem) => problems.push(problem), stop.signal);
    expect(found.map(({ assignments, holds }) => [[...assignments.keys()], [...holds.keys()]])).toEqual([
      [["one-2"], []],
    ]);
    expect(problems).toEqual([
      "/orders/assignments/h1/one-1: is about two-1, and its key about one-1",
      "/orders/assignments/h1/one-2/hold: is about two-1, and its key about one-2",
    ]);
  });

  const textAt = async (key: string): Promise<string> =>
    (await client.read({ key })).lists[0][0]?.value ?? "there is no such key";
});
