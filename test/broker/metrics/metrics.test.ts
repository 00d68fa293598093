/** io.systemd.Metrics of a real broker: what is counted, who sees it, and who waits for whom. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { linkSync, renameSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { acquire } from "../../../src/client/acquire.ts";
import type { Metric } from "../../../src/client/broker-client.ts";
import { connect } from "../../../src/client/connect.ts";
import { connectUnix } from "../../../src/varlink/connect.ts";
import { startBroker, type TestBroker } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";
import { memfd } from "../../support/sockets.ts";
import { Watcher } from "../../support/watcher.ts";

leaksNothing("soon");

const lobby = { "lobby.toml": '[sockets.chat]\nlisten = ["tcp://127.0.0.1:0"]\n' };

async function all(socket: string): Promise<Metric[]> {
  using client = await connect({ socket });
  const metrics: Metric[] = [];
  for await (const metric of client.metrics()) metrics.push(metric);
  return metrics;
}

/** The values of a family: by its fields' texts, for an object or the broker. */
async function valuesOf({ socket }: TestBroker, family: string, object?: string): Promise<Record<string, unknown>> {
  const own = (await all(socket)).filter((one) => one.name === `io.berthd.Broker.${family}` && one.object === object);
  return Object.fromEntries(own.map(({ fields, value }) => [Object.values(fields ?? {}).join(" "), value]));
}

describe("each counter grows when its event happens", () => {
  it("leases, restarts, acquires and their histogram", async () => {
    await using test = await startBroker(lobby);
    expect(await valuesOf(test, "Leases", "lobby")).toEqual({ "": 0 });
    for (let round = 0; round < 2; round++) {
      await using tenancy = await acquire("lobby", { socket: test.socket });
      expect(tenancy.descriptors).toHaveLength(1);
    }
    expect(await valuesOf(test, "Leases", "lobby")).toEqual({ "": 2 });
    expect(await valuesOf(test, "Restarts", "lobby")).toEqual({ "": 1 });
    expect(await valuesOf(test, "Takeovers", "lobby")).toEqual({ "": 0 });
    expect(await valuesOf(test, "Acquires")).toEqual({ "": 2 });
    const buckets = await valuesOf(test, "AcquireSecondsBucket");
    expect(buckets["+Inf"]).toBe(2);
    expect(buckets["10"]).toBe(2);
    const { "": sum } = await valuesOf(test, "AcquireSecondsSum");
    expect(sum).toBeGreaterThan(0);
  });

  it("a tenant that asks again is counted, and not timed", async () => {
    await using test = await startBroker(lobby);
    using peer = await RawPeer.connect(test.socket);
    for (let n = 0; n < 3; n++) await peer.call("Acquire", { berth: "lobby" });
    expect(await valuesOf(test, "Acquires")).toEqual({ "": 3 });
    expect((await valuesOf(test, "AcquireSecondsBucket"))["+Inf"]).toBe(1);
    expect(await valuesOf(test, "Leases", "lobby")).toEqual({ "": 1 });
  });

  it("takeovers", async () => {
    await using test = await startBroker(lobby);
    await using _former = await acquire("lobby", { socket: test.socket });
    await using successor = await Puppet.connect(test.socket);
    await successor.call("Acquire", { berth: "lobby", replace: "must" });
    expect(await valuesOf(test, "Takeovers", "lobby")).toEqual({ "": 1 });
    expect(await valuesOf(test, "Restarts", "lobby")).toEqual({ "": 1 });
    expect(await valuesOf(test, "State", "lobby")).toEqual({ "": "handover" });
    expect(await valuesOf(test, "Berths")).toEqual({ handover: 1 });
  });

  it("refusals, by the name of the error, and connections", async () => {
    await using test = await startBroker(lobby);
    using peer = await RawPeer.connect(test.socket);
    await peer.call("Acquire", { berth: "nothing" });
    await peer.call("Acquire", { berth: "lobby", replace: "must" });
    await peer.call("Acquire", { berth: "nothing" });
    expect(await valuesOf(test, "Refusals")).toEqual({
      "io.berthd.Broker.NoSuchBerth": 2,
      "io.berthd.Broker.BerthVacant": 1,
    });
    expect(await valuesOf(test, "Acquires")).toEqual({ "": 0 });
    expect(await valuesOf(test, "ConnectionsAccepted")).toEqual({ "": 4 });
    expect(await valuesOf(test, "Connections")).toEqual({ "": 2 });
    expect(await valuesOf(test, "Watchers")).toEqual({ "": 0 });
    await using _watcher = await Watcher.connect(test.socket, 1);
    expect(await valuesOf(test, "Watchers")).toEqual({ "": 1 });
  });

  it("connections that a limit refuses", async () => {
    await using test = await startBroker(lobby, { quota: { connections: 1 } });
    const first = await Watcher.connect(test.socket, 1);
    using second = await RawPeer.connect(test.socket);
    expect(await second.receive()).toMatchObject({ error: "io.berthd.Broker.LimitReached" });
    await first[Symbol.asyncDispose]();
    await expect.poll(() => test.broker.connections).toBe(0);
    expect(await valuesOf(test, "ConnectionsRefused")).toEqual({ connections: 1, descriptors: 0, arrivals: 0 });
  });

  it("starts on demand that fail, and what woke the server", async () => {
    const [udp, tcp] = [await freePort(), await freePort()];
    const file = `[sockets.game]\nlisten = ["udp://127.0.0.1:${udp}", "tcp://127.0.0.1:${tcp}"]
[server]\ncommand = ["/bin/false"]\nstart = "on-demand"\n${process.getuid?.() === 0 ? "user = 65534\n" : ""}`;
    await using test = await startBroker({ "arena.toml": file }, { starts: { firstDelay: 1 } });
    await using watcher = await Watcher.connect(test.socket, 1);
    expect(await valuesOf(test, "Wakes", "arena")).toEqual({ datagram: 0, connection: 0 });
    const client = createSocket("udp4");
    client.send("wake", udp, "127.0.0.1");
    await watcher.count("failed", 1);
    const wakes = await valuesOf(test, "Wakes", "arena");
    expect(wakes["datagram"]).toBeGreaterThanOrEqual(1);
    expect(wakes["connection"]).toBe(0);
    const [view] = test.broker.berths;
    expect(view?.wake).toEqual({ at: expect.any(Number), cause: "datagram", socket: "game" });
    const { "": failures } = await valuesOf(test, "StartFailures", "arena");
    expect(failures).toBeGreaterThanOrEqual(1);
    const { "": starts } = await valuesOf(test, "Starts", "arena");
    expect(starts).toBeGreaterThanOrEqual(Number(failures));
    client.close();
  });
});

describe("what the kernel tells of sockets", () => {
  it("the queue of a datagram socket, its limit, and what it has dropped", async () => {
    const file = '[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\nreceive-buffer = "8K"\n';
    await using test = await startBroker({ "arena.toml": file });
    const address = test.broker.berths[0]?.descriptors[0]?.address ?? "";
    const at = `game ${address}`;
    expect(await valuesOf(test, "QueueBytes", "arena")).toEqual({ [at]: 0 });
    const client = createSocket("udp4");
    client.connect(Number(/\d+$/.exec(address)?.[0]), "127.0.0.1");
    await once(client, "connect");
    for (let sent = 0; sent < 100; sent++)
      await new Promise<void>((resolve) => client.send(Buffer.alloc(1000), () => resolve()));
    client.close();
    const { [at]: queue } = await valuesOf(test, "QueueBytes", "arena");
    const { [at]: limit } = await valuesOf(test, "QueueLimitBytes", "arena");
    const { [at]: drops } = await valuesOf(test, "Drops", "arena");
    expect(queue).toBeGreaterThan(1000);
    expect(limit).toBeGreaterThanOrEqual(16 * 1024);
    expect(drops).toBeGreaterThan(0);
    expect(drops).toBeLessThan(100);
  });

  it("the accept queue of TCP and UNIX sockets, and its limit", async () => {
    const path = `@berthd-metrics-${process.pid}`;
    const file = `[sockets.web]\nlisten = ["tcp://127.0.0.1:0", "unix://${path}", "tcp://[::1]:0"]\nbacklog = 7\n`;
    await using test = await startBroker({ "web.toml": file });
    const [one = "", , six = ""] = test.broker.berths[0]?.descriptors.map(({ address }) => address ?? "") ?? [];
    const clients = [1, 2].map(() => connectTcp(Number(/\d+$/.exec(one)?.[0]), "127.0.0.1"));
    for (const client of clients) await once(client, "connect");
    using _waiting = await connectUnix(path);
    const expected = { [`web ${one}`]: 2, [`web unix://${path}`]: 1, [`web ${six}`]: 0 };
    expect(await valuesOf(test, "AcceptQueue", "web")).toEqual(expected);
    const limits = Object.fromEntries(Object.keys(expected).map((key) => [key, 7]));
    expect(await valuesOf(test, "AcceptQueueLimit", "web")).toEqual(limits);
    for (const client of clients) client.destroy();
  });

  it("descriptors that the broker holds", async () => {
    await using test = await startBroker(lobby);
    await using tenancy = await acquire("lobby", { socket: test.socket });
    const file = memfd();
    await tenancy.stash("state", file);
    file.close();
    expect(await valuesOf(test, "HeldDescriptors", "lobby")).toEqual({ socket: 1, root: 0, stash: 1 });
    const { "": open } = await valuesOf(test, "OpenDescriptors");
    const { "": limit } = await valuesOf(test, "DescriptorLimit");
    expect(open).toBeGreaterThan(10);
    expect(limit).toBeGreaterThan(Number(open));
  });
});

it("every value has a family that Describe has, of its type, and a number is finite", async () => {
  await using test = await startBroker(lobby);
  using client = await connect({ socket: test.socket });
  const families = new Map((await client.metricFamilies()).map(({ name, type }) => [name, type]));
  const metrics = await all(test.socket);
  for (const { name, value } of metrics) {
    const type = families.get(name);
    expect([name, type]).toEqual([name, type === "string" ? "string" : expect.stringMatching(/^(counter|gauge)$/)]);
    expect([name, typeof value]).toEqual([name, type === "string" ? "string" : "number"]);
    if (typeof value === "number") expect(value).toBeGreaterThanOrEqual(0);
  }
  const listed = new Set(metrics.map(({ name }) => name));
  const absent = Array.from(families.keys(), (name) => name.replace("io.berthd.Broker.", "")).filter(
    (name) => !listed.has(`io.berthd.Broker.${name}`),
  );
  // No refusal yet, no server on demand, no bind delivery, no report, no datagram socket, no tenant.
  expect(absent).toEqual([
    ...["Starts", "StartFailures", "Wakes", "Binds", "Players", "PlayersLimit"],
    ...["QueueBytes", "QueueLimitBytes", "Drops"],
    ...["TenantMemoryBytes", "TenantMemoryLimitBytes", "TenantCpuSeconds", "Refusals"],
  ]);
});

it("counters go on when the berth's configuration changes, and begin again when the berth was away", async () => {
  await using test = await startBroker(lobby);
  await (await acquire("lobby", { socket: test.socket })).release();
  test.folder.write({ "config/lobby.toml": `${lobby["lobby.toml"]}[server]\numask = '0077'\n` });
  test.broker.reload();
  expect(await valuesOf(test, "Leases", "lobby")).toEqual({ "": 1 });
  const { path } = test.folder;
  renameSync(join(path, "config/lobby.toml"), join(path, "lobby.toml"));
  test.broker.reload();
  expect(await valuesOf(test, "Leases", "lobby")).toEqual({});
  renameSync(join(path, "lobby.toml"), join(path, "config/lobby.toml"));
  test.broker.reload();
  expect(await valuesOf(test, "Leases", "lobby")).toEqual({ "": 0 });
});

it("without 'more' both methods are ExpectedMore", async () => {
  await using test = await startBroker(lobby);
  using client = await connect({ socket: test.socket });
  for (const method of ["List", "Describe"])
    await expect(client.call(`io.systemd.Metrics.${method}`)).rejects.toMatchObject({
      error: "org.varlink.service.ExpectedMore",
    });
});

it("a hard link of the socket is the broker too, as docs/metrics.md says", async () => {
  await using test = await startBroker(lobby);
  const link = join(test.folder.path, "io.berthd.Broker");
  linkSync(test.socket, link);
  expect((await all(link)).length).toBeGreaterThan(20);
});

const listCall = `${JSON.stringify({ method: "io.systemd.Metrics.List", more: true })}\0`;

describe("who sees what (needs root, to be several users)", needs("root"), () => {
  it("a user sees the berths that it may take; who may take none gets NoSuchMetric", async () => {
    const tenant = (uid: number): string => `[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n[tenant]\nusers = [${uid}]\n`;
    await using test = await startBroker({ "mine.toml": tenant(65_534), "secret.toml": tenant(65_533) });
    const seenBy = async (uid: number | undefined): Promise<{ objects: unknown[]; text: string }> => {
      using peer = await RawPeer.connect(test.socket, uid);
      await peer.send(listCall);
      const replies = [];
      do replies.push(await peer.receive());
      while (replies.at(-1)?.continues === true);
      const objects = new Set(replies.flatMap((reply) => reply?.parameters["object"] ?? []));
      return { objects: [...objects], text: JSON.stringify(replies) };
    };
    expect((await seenBy(undefined)).objects).toEqual(["mine", "secret"]);
    const own = await seenBy(65_534);
    expect(own.objects).toEqual(["mine"]);
    expect(own.text).not.toContain("secret");
    expect(own.text).toContain('"io.berthd.Broker.UptimeSeconds"');
    expect((await seenBy(65_532)).text).toBe('[{"error":"io.systemd.Metrics.NoSuchMetric","parameters":{}}]');
  });
});

describe("a client that does not read", () => {
  const many = Object.fromEntries(
    Array.from({ length: 800 }, (_, at) => [
      `b${at}.toml`,
      `[sockets.a]\nlisten = ["unix://@berthd-m-${process.pid}-${at}"]\n`,
    ]),
  );

  it("holds up nobody: others get their answers and all values, and it gets all when it reads", async () => {
    await using test = await startBroker(many);
    using lazy = await RawPeer.connect(test.socket);
    await lazy.send(listCall);
    using client = await connect({ socket: test.socket });
    const lists = await Promise.all([all(test.socket), all(test.socket), client.berths()]);
    expect(lists[2]).toHaveLength(800);
    expect(lists[0]?.filter(({ name }) => name === "io.berthd.Broker.Leases")).toHaveLength(800);
    const replies = [];
    do replies.push(await lazy.receive());
    while (replies.at(-1)?.continues === true);
    expect(replies.length).toBeGreaterThan(800 * 5);
  });

  it("and never reads, is dropped after the deadline", async () => {
    await using test = await startBroker(many, { deadline: 200 });
    using lazy = await RawPeer.connect(test.socket);
    await lazy.send(listCall);
    await expect.poll(() => test.log.map(({ event }) => event), { timeout: 30_000 }).toContain("dropped");
    expect(test.broker.connections).toBe(0);
  });
});
