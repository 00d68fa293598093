/** The client of etcd with a real etcd: transactions, leases, watches, and what breaks them. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { Compacted, EtcdClient, Fault, type Followed, follow, type Range } from "../../../packages/fleet/src/index.ts";
import { Certificates } from "../../support/fleet/certificates.ts";
import { shareEtcd, TestEtcd } from "../../support/fleet/etcd.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";

const SOON = { timeout: 30_000 };

/** The code of a refusal. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "nothing was refused",
    (one) => one,
  );
  if (error instanceof Fault) return error.code;
  throw error;
}

/** Its watches begin only when they are let go. */
class HeldWatches extends EtcdClient {
  #gate = Promise.resolve();

  /** The result lets them go. */
  hold(): () => void {
    let letGo = (): void => undefined;
    this.#gate = new Promise((resolve) => {
      letGo = resolve;
    });
    return letGo;
  }

  override async *watch(range: Range, from: number, signal: AbortSignal) {
    await this.#gate;
    yield* super.watch(range, from, signal);
  }
}

/** Follows in the background what a range has; `state` is by key, `lists` how often all keys were read. */
function following(client: EtcdClient, prefix: string, seen: (one: Followed) => void = () => undefined) {
  const stop = new AbortController();
  const state = new Map<string, string>();
  const counts = { lists: 0, lost: 0, back: 0 };
  const run = async (): Promise<void> => {
    for await (const one of follow(client, { prefix }, stop.signal)) {
      if (one.kind === "all") {
        counts.lists++;
        state.clear();
        for (const { key, value } of one.entries) state.set(key, value);
      } else if (one.kind === "changes") {
        for (const event of one.events) {
          if (event.kind === "put") state.set(event.entry.key, event.entry.value);
          else state.delete(event.key);
        }
      } else counts[one.kind]++;
      seen(one);
    }
  };
  const ended = run();
  const dispose = async (): Promise<void> => {
    stop.abort();
    await ended;
  };
  return { state, counts, [Symbol.asyncDispose]: dispose };
}

describe("one etcd", { ...needs("etcd"), timeout: 90_000 }, () => {
  let etcd: TestEtcd;
  let client: EtcdClient;
  shareEtcd((...both) => {
    [etcd, client] = both;
  });

  const put = (key: string, value: string) => client.commit([], [{ put: key, value }]);

  it("reads ranges at one revision: a key, those with a prefix, none; in the order of their keys", async () => {
    await put("/read/b", "2");
    await put("/read/a", "ä");
    const { revision } = await put("/reading", "no");
    const { lists, revision: read } = await client.read({ key: "/read/b" }, { prefix: "/read/" }, { key: "/none" });
    expect(read).toBe(revision);
    expect(lists.map((list) => list.map(({ key, value }) => [key, value]))).toEqual([
      [["/read/b", "2"]],
      [
        ["/read/a", "ä"],
        ["/read/b", "2"],
      ],
      [],
    ]);
  });

  it("calls at the same time share one connection, which closes with the client", async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      const member = connect(Number(new URL(etcd.endpoint).port), "127.0.0.1");
      sockets.push(socket);
      for (const end of [socket, member]) end.on("error", () => undefined);
      socket.pipe(member).pipe(socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const shared = new EtcdClient([`http://127.0.0.1:${port}`]);
    const reads = async (): Promise<number[]> => {
      const all = await Promise.all([1, 2, 3].map(() => shared.read({ key: "/none" })));
      return all.map(({ lists }) => lists[0].length);
    };
    expect(await reads()).toEqual([0, 0, 0]);
    expect(sockets).toHaveLength(1);
    // The next one, too.
    const [first] = sockets;
    first?.destroy();
    await expect.poll(() => reads().catch(() => "not yet"), SOON).toEqual([0, 0, 0]);
    expect(sockets).toHaveLength(2);
    shared[Symbol.dispose]();
    // Resolves only when each connection has closed.
    server.close();
    await once(server, "close");
  });

  it("makes all changes of a transaction, or none where one condition does not hold", async () => {
    const { revision } = await put("/txn/there", "1");
    const there = { key: "/txn/there", revision };
    const absent = { key: "/txn/new", revision: 0 };
    const changes = [{ put: "/txn/new", value: "n" }, { remove: { key: "/txn/there" } }] as const;
    for (const wrong of [
      { key: "/txn/there", revision: revision - 1 },
      { key: "/txn/there", revision: 0 },
      { key: "/txn/nowhere", present: true },
    ] as const) {
      expect(await client.commit([there, absent, wrong], changes)).toEqual({ done: false, revision });
    }
    const keysOf = async () => (await client.read({ prefix: "/txn/" })).lists[0].map(({ key }) => key);
    expect(await keysOf()).toEqual(["/txn/there"]);
    const present = { key: "/txn/there", present: true } as const;
    expect(await client.commit([there, absent, present], changes)).toEqual({ done: true, revision: revision + 1 });
    expect(await keysOf()).toEqual(["/txn/new"]);
  });

  it("of many who make the same key at the same time, one does", async () => {
    const clients = Array.from({ length: 6 }, () => new EtcdClient([etcd.endpoint]));
    for (let round = 0; round < 5; round++) {
      const key = `/race/${round}`;
      const done = await Promise.all(
        clients.map((one, at) => one.commit([{ key, revision: 0 }], [{ put: key, value: String(at) }])),
      );
      expect(done.filter((one) => one.done)).toHaveLength(1);
    }
    for (const one of clients) one[Symbol.dispose]();
  });

  it("removes the keys of a lease that is revoked or not kept, and says so to the one who kept it", async () => {
    const short = await client.grant(5);
    const revoked = await client.grant(600);
    await client.commit([], [{ put: "/lease/short", value: "", lease: short }]);
    await client.commit([], [{ put: "/lease/revoked", value: "", lease: revoked }]);
    expect(await client.keepAlive(revoked)).toBe(true);
    await using seen = following(client, "/lease/");
    await expect.poll(() => seen.counts.lists, SOON).toBe(1);
    await client.revoke(revoked);
    await expect.poll(() => [...seen.state.keys()], SOON).toEqual([]);
    expect(await client.keepAlive(short)).toBe(false);
    expect(await client.keepAlive(revoked)).toBe(false);
    expect(await codeOf(client.revoke(revoked))).toBe("ETCD_REFUSED");
  });

  it("a watch begins with the revision that was asked for, and one that etcd has forgotten is Compacted", async () => {
    const first = await put("/watch/a", "1");
    await put("/watch/a", "2");
    const last = await put("/watch/a", "3");
    const stop = new AbortController();
    const values: string[] = [];
    for await (const events of client.watch({ prefix: "/watch/" }, first.revision + 1, stop.signal)) {
      for (const event of events) if (event.kind === "put") values.push(event.entry.value);
      if (values.length === 2) stop.abort();
    }
    expect(values).toEqual(["2", "3"]);
    await etcd.compact(last.revision);
    const late = client.watch({ prefix: "/watch/" }, first.revision, AbortSignal.timeout(30_000));
    await expect(late.next().then(() => late.next())).rejects.toThrow(Compacted);
  });

  it("follows all keys over a member that was killed: nothing is missed, and nothing is read twice", async () => {
    await put("/follow/a", "1");
    await using seen = following(client, "/follow/");
    await expect.poll(() => Object.fromEntries(seen.state), SOON).toEqual({ "/follow/a": "1" });
    await etcd.kill();
    await expect.poll(() => seen.counts.lost, SOON).toBeGreaterThan(0);
    await etcd.restart();
    // By another connection, so that ours has still to find out.
    using other = new EtcdClient([etcd.endpoint]);
    await other.commit([], [{ put: "/follow/b", value: "2" }, { remove: { key: "/follow/a" } }]);
    await expect.poll(() => Object.fromEntries(seen.state), SOON).toEqual({ "/follow/b": "2" });
    expect(seen.counts).toMatchObject({ lists: 1, back: 1 });
  });

  it("reads all keys again where etcd has forgotten what happened while the connection was broken", async () => {
    using held = new HeldWatches([etcd.endpoint]);
    await put("/forgot/a", "1");
    await using seen = following(held, "/forgot/");
    await expect.poll(() => seen.state.size, SOON).toBe(1);
    const letGo = held.hold();
    await etcd.kill();
    await expect.poll(() => seen.counts.lost, SOON).toBeGreaterThan(0);
    await etcd.restart();
    using other = new EtcdClient([etcd.endpoint]);
    await other.commit([], [{ put: "/forgot/b", value: "2" }]);
    const { revision } = await other.commit([], [{ remove: { key: "/forgot/a" } }]);
    await etcd.compact(revision);
    letGo();
    await expect.poll(() => Object.fromEntries(seen.state), SOON).toEqual({ "/forgot/b": "2" });
    expect(seen.counts.lists).toBe(2);
  });

  it("an etcd that is down is ETCD_UNREACHABLE, with its address and the reason; and it serves again", async () => {
    using own = new EtcdClient([etcd.endpoint]);
    await own.read({ key: "/down" });
    await etcd.kill();
    await expect(own.read({ key: "/down" })).rejects.toThrow(`etcd at ${etcd.endpoint} does not answer: `);
    expect(await codeOf(own.commit([], [{ put: "/down", value: "" }]))).toBe("ETCD_UNREACHABLE");
    await expect(own.grant(1)).rejects.toThrow("ECONNREFUSED");
    await etcd.restart();
    expect((await own.read({ key: "/down" })).lists).toEqual([[]]);
  });

  it("leaves a member that does not answer for the next one", async () => {
    const dead = `http://127.0.0.1:${await freePort()}`;
    using own = new EtcdClient([dead, etcd.endpoint]);
    expect((await own.read({ key: "/other" })).lists).toEqual([[]]);
    await using stopped = await TestEtcd.start();
    using two = new EtcdClient([stopped.endpoint, etcd.endpoint]);
    await two.commit([], [{ put: "/on/first", value: "" }]);
    await stopped.freeze();
    // The other etcd has no such key.
    expect((await two.read({ key: "/on/first" })).lists).toEqual([[]]);
  });
});

it("an address that is none is refused", () => {
  expect(() => new EtcdClient(["localhost"])).toThrow('"localhost" is no address of etcd: write https://HOST:PORT');
  expect(() => new EtcdClient([])).toThrow("is no address of etcd");
  const endpoints = ["https://127.0.0.1:2379", "http://127.0.0.1:2379"];
  expect(() => new EtcdClient(endpoints, { ca: "" })).toThrow("http://127.0.0.1:2379 uses no certificates");
});

describe("etcd that asks for certificates", { ...needs("etcd", "openssl"), timeout: 90_000 }, () => {
  it("serves a client with one, and no other", async () => {
    using certificates = new Certificates("server", "host");
    await using etcd = await TestEtcd.start({ scheme: "https", args: certificates.ofServer("server") });
    const tls = certificates.tls("host");

    using client = new EtcdClient([etcd.endpoint], tls);
    expect(await client.commit([], [{ put: "/a", value: "1" }])).toMatchObject({ done: true });
    using nameless = new EtcdClient([etcd.endpoint], { ca: tls.ca });
    await expect(nameless.read({ key: "/a" })).rejects.toThrow(/it asks for a certificate: give --cert and --key/);
    using others = new Certificates("host");
    using foreign = new EtcdClient([etcd.endpoint], { ...others.tls("host"), ca: tls.ca });
    await expect(foreign.read({ key: "/a" })).rejects.toThrow(/it refuses our certificate/);
    using distrustful = new EtcdClient([etcd.endpoint]);
    await expect(distrustful.read({ key: "/a" })).rejects.toThrow(/certificate/);
  });
});
