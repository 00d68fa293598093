/** What a host may do in etcd with the rights of `berth-fleet roles`: so much can an attacker do who has stolen it. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EtcdClient, Fault, hostRecord, Keys } from "../../packages/fleet/src/index.ts";
import { TestFolder } from "../support/broker.ts";
import { Certificates } from "../support/fleet/certificates.ts";
import { TestEtcd } from "../support/fleet/etcd.ts";
import { fleetCommand, freePools, runFleet, sleepers, TestHost } from "../support/fleet/host.ts";
import { needs } from "../support/needs.ts";

const SOON = { timeout: 60_000, interval: 100 };

describe("an etcd with roles", { ...needs("etcd", "etcdctl", "openssl", "root"), timeout: 180_000 }, () => {
  const keys = new Keys();
  const folder = new TestFolder();
  let certificates: Certificates;
  let etcd: TestEtcd;
  /** The stolen host is h2. */
  let stolen: EtcdClient;
  let operator: EtcdClient;

  beforeAll(async () => {
    certificates = new Certificates("server", "root", "h1", "h2", "stranger");
    etcd = await TestEtcd.start({ scheme: "https", args: certificates.ofServer("server") });
    const printed = await runFleet("http://127.0.0.1:1", "roles", "h1", "h2");
    expect(printed).toMatchObject({ code: 0, err: "" });
    const root = "etcdctl user add root --no-password\netcdctl user grant-role root root\n";
    etcdctl(`etcdctl role add root\n${root}${printed.out}etcdctl auth enable\n`);
    stolen = new EtcdClient([etcd.endpoint], certificates.tls("h2"));
    operator = new EtcdClient([etcd.endpoint], certificates.tls("root"));
  }, 120_000);

  afterAll(async () => {
    stolen[Symbol.dispose]();
    operator[Symbol.dispose]();
    await etcd[Symbol.asyncDispose]();
    certificates[Symbol.dispose]();
    folder[Symbol.dispose]();
  }, 60_000);

  /** Runs lines of a shell as the operator. */
  function etcdctl(lines: string): void {
    const [cacert, cert, key] = ["ca.pem", "root.pem", "root.key"].map((file) => certificates.path(file));
    const env = { ...process.env, ETCDCTL_API: "3", ETCDCTL_ENDPOINTS: etcd.endpoint };
    const files = { ETCDCTL_CACERT: cacert, ETCDCTL_CERT: cert, ETCDCTL_KEY: key };
    execFileSync("sh", ["-ec", lines], { env: { ...env, ...files }, stdio: "pipe" });
  }

  const codeOf = async (call: Promise<unknown>): Promise<string> =>
    await call.then(
      () => "done",
      (error) => (error instanceof Fault ? error.code : String(error)),
    );
  const put = (client: EtcdClient, key: string) => client.commit([], [{ put: key, value: "{}" }]);

  it("a host writes its own record and reports, and reads what is placed on it", async () => {
    await put(operator, keys.of({ kind: "assignment", host: "h2", berth: "a-1" }));
    const lease = await stolen.grant(60);
    const own = keys.of({ kind: "host", host: "h2" });
    expect(await codeOf(stolen.commit([], [{ put: own, value: "{}", lease }]))).toBe("done");
    expect(await codeOf(stolen.keepAlive(lease))).toBe("done");
    expect(await codeOf(put(stolen, keys.of({ kind: "state", host: "h2", berth: "a-1" })))).toBe("done");
    const { lists } = await stolen.read({ prefix: keys.allOf("assignment", "h2") });
    expect(lists[0]).toHaveLength(1);
    await stolen.revoke(lease);
    await operator.commit([], [{ remove: { prefix: keys.prefix } }]);
  });

  it("a stolen host writes nothing else, and reads nothing of other hosts", async () => {
    const others = [
      keys.of({ kind: "host", host: "h1" }),
      keys.of({ kind: "host", host: "h22" }),
      keys.of({ kind: "state", host: "h1", berth: "a-1" }),
      keys.of({ kind: "assignment", host: "h1", berth: "a-1" }),
      keys.of({ kind: "bookings", host: "h1" }),
      keys.of({ kind: "bookings", host: "h2" }),
      keys.of({ kind: "claim" }),
      keys.of({ kind: "set", set: "a" }),
      keys.of({ kind: "placement", berth: "a-1" }),
      keys.of({ kind: "allocation", berth: "a-1" }),
      "/elsewhere",
    ];
    for (const key of others) {
      expect([key, await codeOf(put(stolen, key))]).toEqual([key, "ETCD_DENIED"]);
      expect([key, await codeOf(stolen.read({ key }))]).toEqual([key, "ETCD_DENIED"]);
    }
    // What is placed on it is the fleet's to say.
    expect(await codeOf(put(stolen, keys.of({ kind: "assignment", host: "h2", berth: "a-1" })))).toBe("ETCD_DENIED");
    // Nor does a transaction that may change one key change another one.
    const own = { put: keys.of({ kind: "host", host: "h2" }), value: "{}" };
    const other = { put: keys.of({ kind: "host", host: "h1" }), value: "{}" };
    expect(await codeOf(stolen.commit([], [own, other]))).toBe("ETCD_DENIED");
    expect(await codeOf(stolen.read({ prefix: keys.prefix }))).toBe("ETCD_DENIED");
    const watching = stolen.watch({ prefix: keys.all("placement") }, 1, AbortSignal.timeout(60_000));
    await expect(watching.next()).rejects.toThrow(/permission denied/);
    expect((await operator.read({ prefix: keys.prefix })).lists[0]).toEqual([]);
  });

  it("it cannot end the lease of another host; it can keep it alive, if it knows its number", async () => {
    using first = new EtcdClient([etcd.endpoint], certificates.tls("h1"));
    const lease = await first.grant(60);
    await first.commit([], [{ put: keys.of({ kind: "host", host: "h1" }), value: "{}", lease }]);
    expect(await codeOf(stolen.revoke(lease))).toBe("ETCD_DENIED");
    expect(await stolen.keepAlive(lease)).toBe(true);
    await first.revoke(lease);
  });

  it("it can say anything of itself, so that berths come to it", async () => {
    const boast = { cores: 64, memory: 2 ** 40, bootId: "boot", version: "0.1.0", labels: { region: "eu" } };
    const record = hostRecord({ name: "h2", addresses: ["203.0.113.1"], pools: [], ...boast }, "h2");
    const lease = await stolen.grant(60);
    await stolen.commit([], [{ put: keys.of({ kind: "host", host: "h2" }), value: JSON.stringify(record), lease }]);
    folder.write({ "a.toml": 'name = "a"\n[berth.server]\nenvironment = { SECRET = "word" }\ncommand = ["true"]\n' });
    const applied = await runFleet(etcd.endpoint, "apply", `${folder.path}/a.toml`, ...certificates.options("root"));
    expect(applied.out).toContain("a-1: on h2\n");
    const { lists } = await stolen.read({ prefix: keys.allOf("assignment", "h2") });
    expect(lists[0][0]?.value).toContain('"SECRET":"word"');
    await runFleet(etcd.endpoint, "rm", "a", ...certificates.options("root"));
    await stolen.revoke(lease);
  });

  it("a certificate without a user, and a user that was deleted, can do nothing", async () => {
    using stranger = new EtcdClient([etcd.endpoint], certificates.tls("stranger"));
    expect(await codeOf(put(stranger, keys.of({ kind: "host", host: "h1" })))).toMatch(/^ETCD_(?:DENIED|REFUSED)$/);
    const own = keys.of({ kind: "host", host: "h2" });
    const lease = await stolen.grant(60);
    await stolen.commit([], [{ put: own, value: "{}", lease }]);
    etcdctl("etcdctl user delete h2");
    // etcd 3.4 asks no user for a keep-alive, so an operator removes the key.
    expect(await stolen.keepAlive(lease)).toBe(true);
    expect((await operator.read({ key: own })).lists[0]).toHaveLength(1);
    await operator.commit([], [{ remove: { key: own } }]);
    expect(await codeOf(put(stolen, keys.of({ kind: "host", host: "h2" })))).toMatch(/^ETCD_(?:DENIED|REFUSED)$/);
    etcdctl("etcdctl user add h2 --no-password\netcdctl user grant-role h2 host-h2");
    expect(await codeOf(put(stolen, keys.of({ kind: "host", host: "h2" })))).toBe("done");
    await operator.commit([], [{ remove: { prefix: keys.prefix } }]);
  });

  it("agents with these rights serve; `replace` places the berths of a lost host elsewhere", async () => {
    const start = async (name: string): Promise<TestHost> => {
      return await TestHost.start(name, etcd.endpoint, ...certificates.options(name), ...(await freePools(2)));
    };
    await using h1 = await start("h1");
    await using h2 = await start("h2");
    await expect
      .poll(() => h1.log, SOON)
      .toContain("berths of lost hosts are placed by others: our user of etcd does not");
    folder.write({ "b.toml": sleepers("b", 'count = 2\non-lost = "replace"') });
    const fleet = (...args: string[]) => runFleet(etcd.endpoint, ...args, ...certificates.options("root"));
    expect(await fleet("apply", `${folder.path}/b.toml`)).toMatchObject({ code: 0, err: "" });
    const list = async () => (await fleet("ls")).out;
    await expect.poll(list, SOON).toMatch(/^b-1 +h1 +occupied.*\nb-2 +h2 +occupied/m);
    await h2.killAgent();
    const options = ["--margin", "1", "--etcd", etcd.endpoint, ...certificates.options("root")];
    const replacing = spawn(...fleetCommand("replace", ...options), { stdio: "ignore" });
    await expect.poll(list, SOON).toMatch(/^b-1 +h1 +occupied.*\nb-2 +h1 +occupied/m);
    replacing.kill("SIGTERM");
    expect(await once(replacing, "close")).toEqual([0, null]);
    await fleet("rm", "b");
  });
});
