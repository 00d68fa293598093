/** Moves whose parts die: the mover, the agent, the other host. One host is real; the other exists only in etcd. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EtcdClient, Keys, moveBerth } from "../../../packages/fleet/src/index.ts";
import { TestFolder } from "../../support/broker.ts";
import { shareEtcd, type TestEtcd } from "../../support/fleet/etcd.ts";
import { fleetCommand, freePools, runFleet, sleepers, TestHost } from "../../support/fleet/host.ts";
import { addHost } from "../../support/fleet/made-up.ts";
import { needs } from "../../support/needs.ts";

const SOON = { timeout: 60_000, interval: 100 };

describe("a move whose parts die", { ...needs("etcd", "root"), timeout: 120_000 }, () => {
  const folder = new TestFolder();
  const keys = new Keys();
  let host: TestHost;
  let etcd: TestEtcd;
  let client: EtcdClient;

  shareEtcd((...both) => {
    [etcd, client] = both;
  });
  beforeAll(async () => {
    const pools = await freePools(2);
    host = await TestHost.start("h1", etcd.endpoint, ...pools, "--label", "real=yes");
  }, 120_000);

  afterAll(async () => {
    await host[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  }, 120_000);

  const fleet = (...args: string[]) => runFleet(etcd.endpoint, ...args);
  const apply = async (name: string, more = "") => {
    folder.write({ [`${name}.toml`]: sleepers(name, more) });
    expect(await fleet("apply", `${folder.path}/${name}.toml`)).toMatchObject({ code: 0 });
  };
  const stateOf = async (berth: string): Promise<string | undefined> => {
    const { lists } = await client.read({ key: keys.of({ kind: "state", host: "h1", berth }) });
    const [entry] = lists[0];
    return entry && JSON.parse(entry.value).state;
  };
  const serverOf = async (berth: string) => (await host.servers()).get(berth);

  it("a mover that is killed leaves no drain, and an agent that is killed starts nothing that is held", async () => {
    await apply("moving");
    await apply("stopped", 'labels = { real = "yes" }');
    for (const berth of ["moving-1", "stopped-1"]) await expect.poll(() => stateOf(berth), SOON).toBe("occupied");
    await addHost(client, keys, "h2", { pools: [{ first: 1000, last: 1003 }] });
    const before = await serverOf("moving-1");
    const command = fleetCommand("move", "moving-1", "--when-empty", "--etcd", etcd.endpoint);
    const mover = spawn(...command, { stdio: "ignore" });
    await expect.poll(() => stateOf("moving-1"), SOON).toBe("draining");
    mover.kill("SIGKILL");
    await once(mover, "close");

    // Meanwhile, until the mover's lease ends: a stopped berth stays stopped, also when the agent is killed.
    const drained = await fleet("drain", "h1", "--stop", "--deadline", "0", "--json");
    expect(JSON.parse(drained.out)).toMatchObject([
      { berth: "moving-1", done: "stays", why: expect.stringContaining("is being moved already") },
      { berth: "stopped-1", done: "stopped" },
    ]);
    await host.killAgent();
    await expect.poll(() => stateOf("stopped-1"), SOON).toBe(undefined);
    await host.startAgent();
    await expect.poll(() => stateOf("stopped-1"), SOON).toBe("held");
    expect([...(await host.servers()).keys()]).toEqual(["moving-1"]);

    await expect.poll(() => stateOf("moving-1"), SOON).toBe("occupied");
    expect(await serverOf("moving-1")).toBe(before);
    await fleet("uncordon", "h1");
    await expect.poll(() => stateOf("stopped-1"), SOON).toBe("occupied");
    await client.commit([], [{ remove: { key: keys.of({ kind: "host", host: "h2" }) } }]);
    await fleet("rm", "moving", "stopped");
  });

  it.each([
    ["says nothing", "did not start on h2: h2 did not start it in time", 1_500],
    ["is lost", "did not start on h2: h2 is silent", 60_000],
  ])("a berth goes back from a host that %s", async (_, why, startMs) => {
    await apply("back");
    await expect.poll(() => stateOf("back-1"), SOON).toBe("occupied");
    await addHost(client, keys, "h2", { pools: [{ first: 1000, last: 1003 }] });
    const said: string[] = [];
    const say = (sentence: string): void => {
      said.push(sentence);
      // It is lost when it has the berth.
      if (startMs > 10_000 && sentence.includes("h2 has it now"))
        void client.commit([], [{ remove: { key: keys.of({ kind: "host", host: "h2" }) } }]);
    };
    const signal = AbortSignal.timeout(100_000);
    await expect(moveBerth(client, keys, "back-1", { within: 0, startMs, signal, say })).rejects.toMatchObject({
      code: "NOT_MOVED",
      message: expect.stringContaining(why),
    });
    expect(said.at(-1)).toBe("back-1: has ended on h1; h2 has it now, and starts it");
    await expect.poll(() => stateOf("back-1"), SOON).toBe("occupied");
    await client.commit([], [{ remove: { key: keys.of({ kind: "host", host: "h2" }) } }]);
    await fleet("rm", "back");
    await expect.poll(() => host.berths(), SOON).toEqual([]);
  });
});
