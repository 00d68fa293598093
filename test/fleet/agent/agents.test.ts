/** Agents and brokers of several hosts on loopback, with a real etcd: placed, raced, killed, cut off. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EtcdClient, Keys } from "../../../packages/fleet/src/index.ts";
import { cli } from "../../cli/support.ts";
import { TestFolder } from "../../support/broker.ts";
import { shareEtcd, type TestEtcd } from "../../support/fleet/etcd.ts";
import { freePools, runFleet, sleepers, TestHost } from "../../support/fleet/host.ts";
import { needs } from "../../support/needs.ts";
import { endsWithTest } from "../../support/wrap.ts";

const SOON = { timeout: 40_000, interval: 100 };

interface Row {
  readonly berth: string;
  readonly host: string;
  readonly generation: number;
  readonly ports: Readonly<Record<string, number>>;
  readonly state: string | null;
  readonly why: string | null;
}

describe("a fleet", { ...needs("etcd", "root"), timeout: 120_000 }, () => {
  const folder = new TestFolder();
  const hosts = new Map<string, TestHost>();
  let etcd: TestEtcd;
  let client: EtcdClient;

  shareEtcd((...both) => {
    [etcd, client] = both;
  });
  beforeAll(async () => {
    for (const name of ["h1", "h2", "h3"]) {
      const options = [
        ...(await freePools(8)),
        "--memory",
        "1000M",
        "--label",
        `disk=${name === "h3" ? "hdd" : "ssd"}`,
      ];
      hosts.set(name, await TestHost.start(name, etcd.endpoint, ...options));
    }
  }, 120_000);

  afterAll(async () => {
    for (const host of hosts.values()) await host[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  }, 120_000);

  const host = (name: string): TestHost => {
    const found = hosts.get(name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  };
  const fleet = (...args: string[]) => runFleet(etcd.endpoint, ...args);
  const apply = async (name: string, more?: string) => {
    folder.write({ [`${name}.toml`]: sleepers(name, more) });
    return await fleet("apply", `${folder.path}/${name}.toml`);
  };
  /** As `ls --json` has them, without a process for each look. */
  const rows = async (): Promise<Row[]> => {
    const keys = new Keys();
    const { lists } = await client.read({ prefix: keys.all("placement") }, { prefix: keys.all("state") });
    const reports: Row[] = lists[1].map(({ value }) => JSON.parse(value));
    return lists[0].map(({ value }) => {
      const placed: Row = JSON.parse(value);
      const report = reports.find((one) => one.berth === placed.berth && one.generation === placed.generation);
      return { ...placed, state: report?.state ?? null, why: report?.why ?? null };
    });
  };
  /** The hosts of a set's berths, as far as they serve. */
  const serving = async (set: string): Promise<string[]> =>
    (await rows())
      .filter(({ berth, state }) => berth.startsWith(`${set}-`) && state === "occupied")
      .map((row) => row.host);

  it("serves the berths of a set on all hosts, and no port twice; and removes them", async () => {
    const applied = await apply("arena", "count = 6");
    expect(applied).toMatchObject({ code: 0, err: "" });
    expect(applied.out).toContain("arena-1: on h1\n");
    expect(applied.out).toContain("  not h1: fits, but has 1 of the set's berths, and h2 has 0\n");
    await expect.poll(() => serving("arena"), SOON).toEqual(["h1", "h2", "h3", "h1", "h2", "h3"]);
    const ports = (await rows()).map(({ ports: { game } }) => game);
    expect(new Set(ports).size).toBe(6);
    for (const { berth, host: on, ports: drawn } of await rows()) {
      const there = (await host(on).berths()).find(({ name }) => name === berth);
      expect(there?.descriptors.map(({ address }) => address)).toEqual([`tcp://127.0.0.1:${drawn["game"]}`]);
    }
    expect(JSON.parse((await fleet("ls", "--json")).out)).toMatchObject(await rows());
    expect((await fleet("ls")).out).toMatch(/^arena-1 +h1 +occupied +- +game=127\.0\.0\.1:\d+$/m);

    // A berth is one caller's until its server ends; then it has another server.
    const [, berth = ""] =
      /^(arena-[36]) game=127\.0\.0\.1:\d+\n$/.exec((await fleet("allocate", "arena", "--label", "disk=hdd")).out) ??
      [];
    const server = (await host("h3").servers()).get(berth);
    expect((await fleet("ls")).out).toMatch(new RegExp(`^${berth} +h3 +allocated`, "m"));
    if (server !== undefined) process.kill(server);
    await expect.poll(async () => (await host("h3").servers()).get(berth) ?? server, SOON).not.toBe(server);
    await expect.poll(async () => (await fleet("ls")).out, SOON).toMatch(new RegExp(`^${berth} +h3 +occupied`, "m"));

    expect((await fleet("ls", "hosts")).out).toMatch(/^h3 +present +2 +1000 MiB +disk=hdd$/m);

    expect((await fleet("rm", "arena")).out).toContain("arena-6: removed from h3\n");
    for (const one of hosts.values()) await expect.poll(() => one.berths(), SOON).toEqual([]);
    await expect.poll(rows, SOON).toEqual([]);
  });

  it("an agent ends with SIGTERM, and the next one goes on with its servers before its host is missed", async () => {
    await apply("steady", 'count = 3\non-lost = "replace"');
    await expect.poll(() => serving("steady"), SOON).toEqual(["h1", "h2", "h3"]);
    const before = await host("h3").servers();
    expect(await host("h3").killAgent("SIGTERM")).toEqual([0, null]);
    await host("h3").startAgent();
    await expect.poll(() => serving("steady"), SOON).toEqual(["h1", "h2", "h3"]);
    expect(await host("h3").servers()).toEqual(before);
    await fleet("rm", "steady");
    await expect.poll(rows, SOON).toEqual([]);
  });

  it("gives no port twice and no more memory than there is to sets that are applied at the same time", async () => {
    const names = ["r1", "r2", "r3", "r4"];
    const applied = await Promise.all(
      names.map((name) => apply(name, 'count = 5\nmemory = 314572800\nstrategy = "packed"')),
    );
    // Three hosts with room for three each.
    expect(applied.map(({ code }) => code)).toContain(1);
    expect(applied.map(({ out }) => out).join("")).toContain("are wanted");
    const placed = await rows();
    expect(placed).toHaveLength(9);
    for (const name of hosts.keys()) expect(placed.filter((row) => row.host === name)).toHaveLength(3);
    expect(new Set(placed.map(({ ports: { game } }) => game)).size).toBe(9);
    expect(await fleet("rm", ...names)).toMatchObject({ code: 0 });
  });

  it("says why a broker takes no berth, and serves the others", async () => {
    folder.write({ "bad.toml": sleepers("bad").replace("[berth.server]", '[berth.server]\ndeliver = ["by-post"]') });
    expect(await fleet("apply", `${folder.path}/bad.toml`)).toMatchObject({ code: 0 });
    const greedy = sleepers("greedy").replace("[berth.server]", '[berth.server]\ncapabilities = ["sys_admin"]');
    folder.write({ "greedy.toml": greedy });
    expect(await fleet("apply", `${folder.path}/greedy.toml`)).toMatchObject({ code: 0 });
    // berth-fleet places no such record; a program that writes to etcd can.
    const malformed = { berth: "malformed-1", generation: 1, config: { sockets: { game: { listen: "none" } } } };
    const key = new Keys().of({ kind: "assignment", host: "h1", berth: "malformed-1" });
    await client.commit([], [{ put: key, value: JSON.stringify(malformed) }]);
    await apply("good", "count = 3");
    await expect.poll(() => serving("good"), SOON).toHaveLength(3);
    await expect
      .poll(async () => (await rows()).find(({ berth }) => berth === "greedy-1")?.state, SOON)
      .toBe("refused");
    expect((await rows()).find(({ berth }) => berth === "greedy-1")?.why).toContain("--allow-key server.capabilities");
    const malformedState = new Keys().of({ kind: "state", host: "h1", berth: "malformed-1" });
    const said = async (): Promise<string> => (await client.read({ key: malformedState })).lists[0][0]?.value ?? "";
    await expect
      .poll(said, SOON)
      .toContain('"state":"refused","why":"malformed-1: sockets.game: listen: must be a list');
    await client.commit([], [{ remove: { key } }]);
    await expect.poll(async () => (await rows()).find(({ berth }) => berth === "bad-1")?.state, SOON).toBe("refused");
    expect((await rows()).find(({ berth }) => berth === "bad-1")?.why).toContain("by-post");

    // Removed and applied again at once: berths of the same names, with other servers.
    const servers = async (): Promise<unknown[]> =>
      (await Promise.all([...hosts.values()].map((one) => one.servers()))).flatMap((one) => [...one.values()]);
    const before = await servers();
    await fleet("rm", "good");
    await apply("good", "count = 3");
    await expect
      .poll(async () => (await servers()).filter((pid) => pid && !before.includes(pid)), SOON)
      .toHaveLength(3);
    await expect.poll(() => serving("good"), SOON).toHaveLength(3);
    await fleet("rm", "bad", "good", "greedy");
  });

  it("leaves a berth of the host alone that was removed while its server runs", async () => {
    const h3 = host("h3");
    await h3.addBerth(
      "left-1",
      '[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n[server]\ncommand = ["sleep", "600"]\nuser = "root"\n',
    );
    const [command = "", ...args] = [...endsWithTest, process.execPath, cli, "run", "--socket", h3.socket, "left-1"];
    const server = spawn(command, args, { stdio: "ignore" });
    const ended = once(server, "close");
    await expect.poll(async () => (await h3.servers()).get("left-1"), SOON).toBeGreaterThan(0);
    const pid = (await h3.servers()).get("left-1") ?? 0;
    await h3.removeBerth("left-1");
    expect(await h3.servers()).toEqual(new Map());
    expect(await apply("left", 'labels = { disk = "hdd" }')).toMatchObject({ code: 0 });
    await expect
      .poll(async () => (await rows())[0]?.why, SOON)
      .toBe("a server of a berth left-1 that is not the fleet's still runs on this host");
    await expect.poll(() => h3.berths(), SOON).toEqual([]);
    await fleet("rm", "left");
    await expect.poll(() => rows(), SOON).toEqual([]);
    expect(process.kill(pid, 0)).toBe(true);
    process.kill(pid);
    await ended;
  });

  it("replaces the berths of a killed agent that say so, leaves the others, and its host gives them up later", async () => {
    await apply("moving", 'count = 3\non-lost = "replace"');
    await apply("staying", "count = 3");
    await expect.poll(() => serving("moving"), SOON).toEqual(["h1", "h2", "h3"]);
    await expect.poll(() => serving("staying"), SOON).toEqual(["h1", "h2", "h3"]);
    const before = await host("h2").servers();
    await host("h2").killAgent();
    await expect.poll(() => serving("moving"), SOON).toEqual(["h1", expect.stringMatching(/h[13]/), "h3"]);
    const now = await rows();
    expect(now.find(({ berth }) => berth === "staying-2")).toMatchObject({ host: "h2", state: null });
    const moved = now.find(({ berth }) => berth === "moving-2");
    const older = now.find(({ berth }) => berth === "moving-1");
    expect(moved?.generation).toBeGreaterThan(older?.generation ?? Number.POSITIVE_INFINITY);
    // Without its agent the host serves both.
    expect(await host("h2").servers()).toEqual(before);

    await expect.poll(async () => (await fleet("events", "--host", "h2")).out, SOON).toMatch(/silent +host h2$/m);
    const told = (await fleet("events", "--host", "h2")).out;
    expect(told.match(/ silent +host h2$/gm)).toHaveLength(1);
    expect(told).toMatch(/ joined +host h2$/m);
    expect(told).toMatch(/ replaced +moving-2 on h[13], before on h2: not h[13]/);

    await host("h2").startAgent();
    await expect.poll(async () => [...(await host("h2").servers()).keys()], SOON).toEqual(["staying-2"]);
    expect((await host("h2").servers()).get("staying-2")).toBe(before.get("staying-2"));
    await expect.poll(() => serving("staying"), SOON).toEqual(["h1", "h2", "h3"]);
    await fleet("rm", "moving", "staying");
  });

  it("keeps what runs while etcd is down, refuses to place, and goes on afterwards", async () => {
    await apply("lasting", "count = 3");
    await expect.poll(() => serving("lasting"), SOON).toHaveLength(3);
    const before = await host("h1").servers();
    await etcd.kill();
    const refused = await apply("late");
    expect(refused).toMatchObject({ code: 111, out: "" });
    expect(refused.err).toMatch(/^berth-fleet: etcd at \S+ does not answer: .*ECONNREFUSED/);
    await expect.poll(() => host("h1").log, SOON).toContain("servers go on");
    expect(await host("h1").servers()).toEqual(before);
    await etcd.restart();
    await expect.poll(async () => (await apply("late")).code, SOON).toBe(0);
    await expect.poll(() => serving("late"), SOON).toHaveLength(1);
    await expect.poll(() => serving("lasting"), SOON).toHaveLength(3);
    expect((await host("h1").servers()).get("lasting-1")).toBe(before.get("lasting-1"));
    await fleet("rm", "lasting", "late");
  });

  it("a record that nobody can read is named, and stands in nobody's way", async () => {
    const key = new Keys().of({ kind: "host", host: "h0" });
    await client.commit([], [{ put: key, value: "{}" }]);
    expect(await apply("readable")).toMatchObject({ code: 0 });
    expect((await fleet("ls", "hosts")).err).toBe("berth-fleet: /berthd/hosts/h0: name is missing\n");
    await client.commit([], [{ remove: { key } }]);
    await fleet("rm", "readable");
  });

  it("rm and place name a set that does not exist", async () => {
    for (const command of ["rm", "place"]) {
      expect(await fleet(command, "nothing")).toMatchObject({
        code: 1,
        out: "",
        err: "berth-fleet: there is no set nothing; to see all: berth-fleet ls sets\n",
      });
    }
  });
});
