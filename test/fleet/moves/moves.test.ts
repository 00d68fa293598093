/** Berths move between real agents and brokers on loopback: by themselves, with their host, and back where it fails. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EtcdClient, Keys } from "../../../packages/fleet/src/index.ts";
import { TestFolder } from "../../support/broker.ts";
import { shareEtcd, type TestEtcd } from "../../support/fleet/etcd.ts";
import { fleetCommand, freePools, runFleet, sleepers, TestHost } from "../../support/fleet/host.ts";
import { needs } from "../../support/needs.ts";

const SOON = { timeout: 40_000, interval: 100 };

describe("moving berths", { ...needs("etcd", "root"), timeout: 120_000 }, () => {
  const folder = new TestFolder();
  const keys = new Keys();
  const hosts: TestHost[] = [];
  let etcd: TestEtcd;
  let client: EtcdClient;

  shareEtcd((...both) => {
    [etcd, client] = both;
  });
  beforeAll(async () => {
    for (const name of ["h1", "h2"]) {
      const pools = await freePools(4);
      hosts.push(await TestHost.start(name, etcd.endpoint, ...pools, "--label", `name=${name}`));
    }
  }, 120_000);

  afterAll(async () => {
    for (const host of hosts) await host[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  }, 120_000);

  const host = (name: string): TestHost => {
    const found = hosts.find((one) => one.name === name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  };
  const fleet = (...args: string[]) => runFleet(etcd.endpoint, ...args);
  const apply = async (name: string, more?: string) => {
    folder.write({ [`${name}.toml`]: sleepers(name, more) });
    return await fleet("apply", `${folder.path}/${name}.toml`);
  };
  /** `arena-1 h1 occupied`, for each berth. */
  const states = async (): Promise<string[]> => {
    const { lists } = await client.read({ prefix: keys.all("placement") }, { prefix: keys.all("state") });
    const reports = lists[1].map(({ value }) => JSON.parse(value));
    return lists[0].map(({ value }) => {
      const { berth, host: on, generation } = JSON.parse(value);
      const report = reports.find((one) => one.berth === berth && one.generation === generation);
      return `${berth} ${on} ${report?.state}`;
    });
  };
  const serverOf = async (berth: string, on: string) => (await host(on).servers()).get(berth);

  it("a server ends at its deadline, and the berth starts on the other host, with a higher generation", async () => {
    await apply("arena", 'labels = { name = "h1" }');
    await expect.poll(states, SOON).toEqual(["arena-1 h1 occupied"]);
    const refused = await fleet("move", "arena-1");
    expect(refused).toMatchObject({ code: 1, out: "" });
    expect(refused.err).toContain("no other host can have arena-1: h2 its label name is h2; h1 is wanted");

    await apply("arena");
    const before = await serverOf("arena-1", "h1");
    const moved = await fleet("move", "arena-1", "--to", "h2", "--deadline", "1s");
    expect(moved).toMatchObject({ code: 0 });
    expect(moved.out).toMatch(/^arena-1: moved from h1 to h2 game=127\.0\.0\.1:\d+\n$/);
    expect(moved.err).toContain("arena-1: draining on h1");
    expect(moved.err).toContain("arena-1: has ended on h1; h2 has it now, and starts it");
    expect(await states()).toEqual(["arena-1 h2 occupied"]);
    expect(await host("h1").berths()).toEqual([]);
    expect(await serverOf("arena-1", "h2")).not.toBe(before);

    // Without --to, and as JSON: nothing else is printed.
    const back = await fleet("move", "arena-1", "--deadline", "0", "--json");
    expect(back).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(back.out)).toMatchObject({ berth: "arena-1", from: "h2", host: "h1", addresses: ["127.0.0.1"] });
    expect((await fleet("move", "arena-1", "--to", "h1")).err).toContain("arena-1 is on h1 already");
    expect((await fleet("move", "arena-1", "--to", "h3")).err).toContain("there is no host h3, or it is silent");
    await fleet("rm", "arena");
    await expect.poll(async () => (await host("h1").berths()).length, SOON).toBe(0);
  });

  it("a berth that the other host cannot serve starts again where it was", async () => {
    await apply("duel", 'labels = { name = "h1" }');
    await expect.poll(states, SOON).toEqual(["duel-1 h1 occupied"]);
    await apply("duel");
    await host("h2").addBerth("duel-1", '[sockets.a]\nlisten = ["unix:///tmp/never"]\n');
    const failed = await fleet("move", "duel-1", "--to", "h2", "--deadline", "0");
    expect(failed).toMatchObject({ code: 1, out: "" });
    expect(failed.err).toContain(
      "duel-1 did not start on h2: this host has a berth duel-1 that is not the fleet's; h1 has it again, and starts it",
    );
    await expect.poll(states, SOON).toEqual(["duel-1 h1 occupied"]);
    await host("h2").removeBerth("duel-1");
    const told = (await fleet("events", "--berth", "duel-1")).out;
    expect(told).toMatch(
      /placed +duel-1 on h1: .*\n.*moved +duel-1 on h2, before on h1\n.*returned +duel-1 on h1, before/,
    );
    await fleet("rm", "duel");
  });

  it("Ctrl-C before the server has ended cancels its drain: it goes on", async () => {
    await apply("long", 'labels = { name = "h1" }');
    await expect.poll(states, SOON).toEqual(["long-1 h1 occupied"]);
    await apply("long");
    const before = await serverOf("long-1", "h1");
    const moving = spawn(...fleetCommand("move", "long-1", "--when-empty", "--etcd", etcd.endpoint), {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const err = text(moving.stderr);
    await expect.poll(states, SOON).toEqual(["long-1 h1 draining"]);
    const second = await fleet("move", "long-1");
    expect(second).toMatchObject({ code: 1, err: expect.stringContaining("long-1 is being moved already") });
    const closed = once(moving, "close");
    moving.kill("SIGINT");
    expect(await closed).toEqual([1, null]);
    expect(await err).toContain("long-1 stays on h1: the move was ended");
    await expect.poll(states, SOON).toEqual(["long-1 h1 occupied"]);
    expect(await serverOf("long-1", "h1")).toBe(before);
    await fleet("rm", "long");
  });

  it("a drained host gets no new berths; its berths move, or stop until it is open again", async () => {
    await apply("free", 'labels = { name = "h1" }');
    await apply("bound", 'labels = { name = "h1" }');
    await expect.poll(states, SOON).toEqual(["bound-1 h1 occupied", "free-1 h1 occupied"]);
    await apply("free");
    const drained = await fleet("drain", "h1", "--deadline", "0");
    expect(drained).toMatchObject({ code: 1 });
    expect(drained.out).toContain("h1: closed to new berths; 1 moved, 0 stopped, 1 stay;");
    expect(await states()).toEqual(["bound-1 h1 occupied", "free-1 h2 occupied"]);
    expect((await apply("late", "count = 2")).out).toContain("not h1: is closed to new berths");
    expect((await fleet("ls", "hosts")).out).toMatch(/^h1 +present, closed +1 /m);

    const stopped = await fleet("drain", "h1", "--deadline", "0", "--stop", "--json");
    expect(JSON.parse(stopped.out)).toEqual([
      { berth: "bound-1", done: "stopped", host: "h1", why: expect.stringContaining("its label name is h2") },
    ]);
    await expect.poll(() => host("h1").berths(), SOON).toEqual([]);
    expect((await fleet("move", "bound-1", "--to", "h2")).code).toBe(1);
    expect((await fleet("drain", "h1", "--cancel")).out).toBe("h1: open to new berths; bound-1 start again\n");
    await expect
      .poll(states, SOON)
      .toEqual(["bound-1 h1 occupied", "free-1 h2 occupied", "late-1 h2 occupied", "late-2 h2 occupied"]);
    expect(await fleet("uncordon", "h1")).toMatchObject({ code: 1, err: expect.stringContaining("h1 is not closed") });
    expect(await fleet("cordon", "h9")).toMatchObject({ code: 1, err: expect.stringContaining("no host h9") });
    await fleet("rm", "free", "bound", "late");
  });

  it("a berth with files of its own is not moved without them, unless that is asked for", async () => {
    await apply("kept", '[berth.root]\nimage = "nothing"');
    const refused = await fleet("move", "kept-1");
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.err).toMatch(
      /no other host can have kept-1: h[12] cannot take its files: start its agent with --state-socket, --store and --store-listen, or use --without-files/,
    );
    await fleet("rm", "kept");
  });
});
