/** Berths of a lost host are placed elsewhere by one of several agents, which alone reads the fleet; by a real etcd. */
import { EventEmitter, once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LostHosts } from "../../../packages/fleet/src/agent/lost-hosts.ts";
import { berthSet, type Etcd, EtcdClient, Fleet, hostRecord, Keys } from "../../../packages/fleet/src/index.ts";
import { TestEtcd } from "../../support/fleet/etcd.ts";
import { needs } from "../../support/needs.ts";

const SOON = { timeout: 60_000, interval: 50 };
const MARGIN_MS = 300;

/** The part of an agent that looks after lost hosts, with a lease of its own. */
class Watcher {
  readonly lease: bigint;
  readonly said: string[] = [];
  /** How often it has read the whole fleet. */
  reads = 0;
  /** Awaited before it does. */
  before: () => Promise<void> = async () => undefined;
  readonly #etcd: EtcdClient;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(etcd: EtcdClient, keys: Keys, lease: bigint, patienceMs: number) {
    this.#etcd = etcd;
    this.lease = lease;
    const counting: Etcd = {
      read: async (...ranges) => {
        if (ranges.some((one) => "prefix" in one && one.prefix === keys.all("placement"))) {
          this.reads++;
          await this.before();
        }
        return await etcd.read(...ranges);
      },
      commit: (conditions, changes) => etcd.commit(conditions, changes),
      grant: (seconds) => etcd.grant(seconds),
      keepAlive: (id) => etcd.keepAlive(id),
      revoke: (id) => etcd.revoke(id),
      watch: (range, from, signal) => etcd.watch(range, from, signal),
    };
    const options = {
      ...{ marginMs: MARGIN_MS, patienceMs, lease: () => lease },
      say: (sentence: string) => void this.said.push(sentence),
    };
    this.#running = new LostHosts(counting, keys, new Fleet(counting, keys), options).run(this.#stop.signal);
  }

  /** As SIGKILL: its lease ends later, by {@link expire}. */
  kill(): void {
    this.#stop.abort();
  }

  async expire(): Promise<void> {
    await this.#etcd.revoke(this.lease);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

describe("hosts that are lost", { ...needs("etcd"), timeout: 120_000 }, () => {
  let etcd: TestEtcd;
  let client: EtcdClient;
  let keys: Keys;
  let watchers: Watcher[];
  /** Of the host that is to be lost. */
  let lease: bigint;
  let count = 0;

  beforeAll(async () => {
    etcd = await TestEtcd.start();
    client = new EtcdClient([etcd.endpoint]);
  }, 60_000);
  afterAll(async () => {
    client[Symbol.dispose]();
    await etcd[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    keys = new Keys(`/test-${++count}/`);
    watchers = [];
    lease = await client.grant(600);
    await addHost("a-lost", lease);
    await new Fleet(client, keys).apply(berthSet({ name: "s", count: 3, "on-lost": "replace", berth: {} }, "s"));
    await addHost("stays");
  });
  afterEach(async () => {
    await Promise.all(watchers.map((one) => one.end()));
  });

  async function addHost(name: string, held?: bigint): Promise<void> {
    const usual = { addresses: [], pools: [], cores: 1, memory: 0, bootId: "boot", version: "0.1.0" };
    const value = JSON.stringify(hostRecord({ ...usual, name }, name));
    const put = keys.of({ kind: "host", host: name });
    await client.commit([], [held === undefined ? { put, value } : { put, value, lease: held }]);
  }
  async function watch(patienceMs = 600_000): Promise<Watcher> {
    const watcher = new Watcher(client, keys, await client.grant(600), patienceMs);
    watchers.push(watcher);
    return watcher;
  }
  const claim = async (): Promise<{ id: string; done: number } | undefined> => {
    const { lists } = await client.read({ key: keys.of({ kind: "claim" }) });
    return lists[0][0] && JSON.parse(lists[0][0].value);
  };
  const hostsOf = async (): Promise<string[]> => {
    const { lists } = await client.read({ prefix: keys.all("placement") });
    return lists[0].map(({ value }) => JSON.parse(value).host);
  };
  /** The first one has the claim, and has found that no host is lost. */
  async function started(number: number, patienceMs?: number): Promise<Watcher> {
    const first = await watch(patienceMs);
    await expect.poll(() => first.reads, SOON).toBe(1);
    await expect.poll(claim, SOON).toBeDefined();
    for (let at = 1; at < number; at++) await watch(patienceMs);
    return first;
  }

  it("are dealt with by one of five agents, and the others do not read the fleet", async () => {
    const first = await started(5);
    expect(await hostsOf()).toEqual(["a-lost", "a-lost", "a-lost"]);
    await client.revoke(lease);
    await expect.poll(hostsOf, SOON).toEqual(["stays", "stays", "stays"]);
    await expect.poll(async () => (await claim())?.done, SOON).toBeGreaterThan(0);
    expect(watchers.map((one) => one.reads)).toEqual([2, 0, 0, 0, 0]);
    expect(first.said).toHaveLength(3);
  });

  it("are dealt with by another agent when the one with the claim dies before it has done anything", async () => {
    const first = await started(5);
    const calls = new EventEmitter();
    const reading = once(calls, "reading");
    first.before = async () => {
      calls.emit("reading");
      await new Promise(() => undefined);
    };
    await client.revoke(lease);
    await reading;
    watchers = watchers.filter((one) => one !== first); // It never ends.
    first.kill();
    await first.expire();
    await expect.poll(hostsOf, SOON).toEqual(["stays", "stays", "stays"]);
    await expect.poll(async () => (await claim())?.done, SOON).toBeGreaterThan(0);
    expect(watchers.filter((one) => one.reads > 0)).toHaveLength(1);
  });

  it("are taken over from an agent that has the claim and does nothing, after some time", async () => {
    const first = await started(3, 1_000);
    const before = await claim();
    let goOn: () => void = () => undefined;
    first.before = () =>
      new Promise((resolve) => {
        goOn = resolve;
      });
    await client.revoke(lease);
    await expect.poll(hostsOf, SOON).toEqual(["stays", "stays", "stays"]);
    expect((await claim())?.id).not.toBe(before?.id);
    first.before = async () => undefined;
    goOn();
    await expect.poll(async () => (await claim())?.done, SOON).toBeGreaterThan(0);
  });

  it("that were lost before the first agent began are dealt with, too", async () => {
    await client.revoke(lease);
    const watcher = await watch();
    await expect.poll(hostsOf, SOON).toEqual(["stays", "stays", "stays"]);
    // It says so after the transaction.
    await expect.poll(() => watcher.said[0], SOON).toBe("s-1, whose host is lost, goes to stays");
  });
});
