/** A host that is stopped past its lease and wakes up: its servers do not write what the servers elsewhere write. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EtcdClient, Keys } from "../../packages/fleet/src/index.ts";
import { read } from "../docs/markdown.ts";
import { TestFolder } from "../support/broker.ts";
import { shareEtcd, type TestEtcd } from "../support/fleet/etcd.ts";
import { runFleet, TestHost } from "../support/fleet/host.ts";
import { FencedStore } from "../support/fleet/store.ts";
import { needs } from "../support/needs.ts";

const SOON = { timeout: 60_000, interval: 50 };

it("the store outlives a writer whose connection is reset", async () => {
  await using store = await FencedStore.open();
  for (const generation of [1, 2]) {
    const writer = connect(store.port, "127.0.0.1");
    writer.write(`${generation}\n`);
    expect(String((await once(writer, "data"))[0])).toBe("kept\n");
    writer.resetAndDestroy();
    await once(writer, "close");
  }
  expect(store.writers).toEqual([1, 2]);
});

describe("a host that wakes up after its lease", { ...needs("etcd", "root"), timeout: 180_000 }, () => {
  const folder = new TestFolder({ "image/readme": "an image\n" });
  const hosts = new Map<string, TestHost>();
  let etcd: TestEtcd;
  let client: EtcdClient;
  let store: FencedStore;

  shareEtcd((...both) => {
    [etcd, client] = both;
  });
  beforeAll(async () => {
    store = await FencedStore.open();
    for (const name of ["h1", "h2"]) hosts.set(name, await TestHost.start(name, etcd.endpoint));
  }, 120_000);

  afterAll(async () => {
    for (const host of hosts.values()) await host[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  }, 120_000);

  const placed = async (): Promise<{ readonly host: string; readonly generation: number }> => {
    const { lists } = await client.read({ key: new Keys().of({ kind: "placement", berth: "keeper-1" }) });
    return JSON.parse(lists[0][0]?.value ?? "");
  };
  /** What the servers of a berth have written to its root on one host: their generations. */
  const upper = (host: TestHost): string[] => {
    const path = host.stateFile("roots/keeper-1/upper/generation");
    return [...new Set(readFileSync(path, "utf8").trim().split("\n"))];
  };

  it("has its writes refused by the store, stops the server, and keeps what it wrote to its own disk", async () => {
    const writer = join(folder.path, "writer.py");
    folder.write({
      "writer.py": read("test/fixtures/fleet/writer.py"),
      "keeper.toml": `name = "keeper"
on-lost = "replace"
[berth.root]
image = "${folder.path}/image"
[berth.server]
command = ["python3", "${writer}", "127.0.0.1", "${store.port}", "{root}"]
user = "range"
`,
    });
    expect(await runFleet(etcd.endpoint, "apply", `${folder.path}/keeper.toml`)).toMatchObject({ code: 0, err: "" });
    const first = await placed();
    await expect.poll(() => store.kept.get(first.generation) ?? 0, SOON).toBeGreaterThan(0);
    const former = hosts.get(first.host);
    if (former === undefined) throw new Error(`there is no host ${first.host}`);

    await former.freeze();
    await expect.poll(placed, SOON).not.toEqual(first);
    const second = await placed();
    expect(second.host).not.toBe(first.host);
    expect(second.generation).toBeGreaterThan(first.generation);
    await expect.poll(() => store.kept.get(second.generation) ?? 0, SOON).toBeGreaterThan(0);

    // The worst case: the server runs again, and neither the broker nor the agent does.
    const before = store.kept.get(first.generation);
    former.thawServers();
    await expect.poll(() => store.refused.get(first.generation) ?? 0, SOON).toBeGreaterThan(0);
    former.thaw();
    await expect.poll(() => former.berths(), SOON).toEqual([]);

    // One writer after the other, and never the first one again.
    expect(store.writers).toEqual([first.generation, second.generation]);
    expect(store.kept.get(first.generation)).toBe(before);
    expect(store.refused.has(second.generation)).toBe(false);
    expect(await placed()).toEqual(second);
    // Each host has a state of its own, with one generation in it.
    expect(upper(former)).toEqual([String(first.generation)]);
    const now = hosts.get(second.host);
    if (now === undefined) throw new Error(`there is no host ${second.host}`);
    expect(upper(now)).toEqual([String(second.generation)]);
    await runFleet(etcd.endpoint, "rm", "keeper");
  });
});
