/**
 * Berths are placed on hosts that do not have their images. Those get them from other hosts first. Real agents, brokers
 * and berth serve-state on loopback; etcd gives each host the rights of `berth-fleet roles` only.
 */
import { execFileSync } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EtcdClient, Keys } from "../../../packages/fleet/src/index.ts";
import { packageRoot } from "../../../src/native.ts";
import { TestFolder } from "../../support/broker.ts";
import { Certificates } from "../../support/fleet/certificates.ts";
import { TestEtcd } from "../../support/fleet/etcd.ts";
import { freePools, runFleet, TestHost } from "../../support/fleet/host.ts";
import { ask, StateService } from "../../support/fleet/state-service.ts";
import { StateStandIn } from "../../support/fleet/state-stand-in.ts";
import { randomBytes } from "../../support/fleet/world.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";

const SOON = { timeout: 60_000, interval: 100 };
const MIB = 1024 * 1024;
const berthProgram = join(packageRoot, "dist/berth/berth.cjs");

describe("images at placement", { ...needs("casync", "etcd", "etcdctl", "openssl", "root"), timeout: 180_000 }, () => {
  const folder = new TestFolder({ "tree/readme": "an image\n", "other/readme": "another one\n", "state/.keep": "" });
  /** Stand-ins that have the images, and real ones that have none. */
  const [sources, targets] = [
    ["s1", "s2"],
    ["t1", "t2"],
  ];
  const hosts = new Map<string, TestHost>();
  const states = new Map<string, StateStandIn>();
  const services = new Map<string, StateService>();
  let certificates: Certificates;
  let etcd: TestEtcd;
  const keys = new Keys();
  let operator: EtcdClient;
  let digest: string;

  beforeAll(async () => {
    writeFileSync(join(folder.path, "tree/map"), randomBytes(7, 4 * MIB));
    const archives = await imported();
    digest = archives.digest;
    certificates = new Certificates("server", "root", ...sources, ...targets);
    etcd = await TestEtcd.start({ scheme: "https", args: certificates.ofServer("server") });
    const { out } = await runFleet("http://127.0.0.1:1", "roles", ...sources, ...targets);
    const root = "etcdctl user add root --no-password\netcdctl user grant-role root root\n";
    etcdctl(`etcdctl role add root\n${root}${out}etcdctl auth enable\n`);
    operator = new EtcdClient([etcd.endpoint], certificates.tls("root"));
    for (const name of sources) {
      const state = await StateStandIn.start(() => hostOf(name));
      const listed = ["arena@2.1", "held@1", "evil@1"].map((one) => {
        const [image = "", version = ""] = one.split("@");
        writeFileSync(state.imageFile(image, version), image === "evil" ? archives.other : archives.right);
        return { name: image, version, digest, bytes: 4 * MIB };
      });
      state.listed = listed;
      states.set(name, state);
      await addHost(name, state.socket);
    }
    for (const name of targets) {
      const socket = join(folder.path, `${name}.sock`);
      await addHost(name, socket);
      const options = ["--folder", hostOf(name).stateFile("..", "berths"), "--state", hostOf(name).stateFile()];
      services.set(name, await StateService.start(socket, [...options, "--socket", hostOf(name).socket]));
    }
    await fleet("cordon", ...sources);
  }, 120_000);
  afterAll(async () => {
    for (const one of hosts.values()) await one[Symbol.asyncDispose]();
    for (const one of [...states.values(), ...services.values()]) await one[Symbol.asyncDispose]();
    operator[Symbol.dispose]();
    await etcd[Symbol.asyncDispose]();
    certificates[Symbol.dispose]();
    folder[Symbol.dispose]();
  }, 120_000);

  /** Two images as a host sends them, and the digest of the first one's tree. */
  async function imported(): Promise<{ readonly digest: string; readonly right: Buffer; readonly other: Buffer }> {
    const state = join(folder.path, "state");
    for (const tree of ["tree", "other"])
      execFileSync(
        process.execPath,
        [berthProgram, "image", "import", "--version", "1", "--state", state, tree, join(folder.path, tree)],
        { stdio: "pipe" },
      );
    await using service = await StateService.start(join(folder.path, "export"), [
      "--folder",
      "/none",
      "--state",
      state,
    ]);
    const archiveOf = async (image: string) =>
      (await ask(service.path, { method: "ExportImage", image, version: "1" })).bytes;
    const { digest }: { digest: string } = JSON.parse(readFileSync(join(state, "images/tree/1/manifest.json"), "utf8"));
    return { digest, right: await archiveOf("tree"), other: await archiveOf("other") };
  }
  async function addHost(name: string, stateSocket: string): Promise<void> {
    const store = ["--store", storeOf(name), "--store-listen", `127.0.0.1:${await freePort()}`];
    const files = ["--state-socket", stateSocket, ...store, ...certificates.options(name)];
    hosts.set(name, await TestHost.start(name, etcd.endpoint, ...(await freePools(3)), ...files));
  }
  const storeOf = (name: string): string => join(folder.path, `store-${name}`);
  function hostOf(name: string): TestHost {
    const found = hosts.get(name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }
  function stateOf(name: string): StateStandIn {
    const found = states.get(name);
    if (found === undefined) throw new Error(`${name} has no stand-in`);
    return found;
  }
  function etcdctl(lines: string): void {
    const [cacert, cert, key] = ["ca.pem", "root.pem", "root.key"].map((file) => certificates.path(file));
    const env = { ...process.env, ETCDCTL_API: "3", ETCDCTL_ENDPOINTS: etcd.endpoint };
    const files = { ETCDCTL_CACERT: cacert, ETCDCTL_CERT: cert, ETCDCTL_KEY: key };
    execFileSync("sh", ["-ec", lines], { env: { ...env, ...files }, stdio: "pipe" });
  }
  const fleet = (...args: string[]) => runFleet(etcd.endpoint, ...args, ...certificates.options("root"));
  /** What the hosts say of their berths: a line each, as `arena-1 t1 occupied`. */
  async function list(): Promise<string> {
    const { lists } = await operator.read({ prefix: keys.all("state") });
    const lines = lists[0].map(({ key, value }) => {
      const { berth, state, why = "" } = JSON.parse(value);
      const about = keys.read(key);
      return `${berth} ${about?.kind === "state" ? about.host : ""} ${state} ${why}`.trim();
    });
    return lines.sort().join("\n");
  }
  /** Applies a set whose berths have this image. */
  async function apply(name: string, image: string, more: string) {
    folder.write({
      [`${name}.toml`]: `name = "${name}"
${more}
[berth.sockets.game]
listen = ["tcp://127.0.0.1:0"]
[berth.root]
image = "${image}"
state = "volatile"
[berth.server]
command = ["sleep", "600"]
user = "range"
`,
    });
    return await fleet("apply", `${folder.path}/${name}.toml`);
  }
  const pinned = (name: string): string => `image = { name = "${name}", digest = "${digest}" }`;
  const filesIn = (...parts: string[]): string[] =>
    readdirSync(join(...parts), { recursive: true, withFileTypes: true, encoding: "utf8" })
      .filter((one) => one.isFile())
      .map((one) => join(one.parentPath, one.name));

  it("two hosts that want one image get it at the same time, each chunk once; its hosts make one archive", async () => {
    const known = async () => (await operator.read({ prefix: keys.all("host") })).lists[0];
    await expect
      .poll(async () => (await known()).map(({ value }) => "listsImages" in JSON.parse(value)), SOON)
      .toEqual([true, true, true, true]);
    const applied = await apply("arena", "arena@2.1", `count = 2\n${pinned("arena")}`);
    expect(applied).toMatchObject({ code: 0, err: "" });
    expect(applied.out).toMatch(
      /arena-1: on t1\n {2}image arena@2\.1 is not there, s1 and s2 have it: 4 MiB are fetched\n/,
    );
    await expect.poll(list, SOON).toMatch(/^arena-1 t1 occupied.*\narena-2 t2 occupied/m);
    for (const name of targets) {
      const [, bytes] = /image arena@2\.1 is here, from s[12]: (\d+) bytes/.exec(hostOf(name).log) ?? [];
      const parts = [...filesIn(storeOf(name), "fetched"), ...filesIn(storeOf(name), "indexes")];
      expect(Number(bytes), hostOf(name).log).toBe(parts.reduce((sum, file) => sum + statSync(file).size, 0));
      expect(Number(bytes)).toBeGreaterThan(4 * MIB);
    }
    for (const name of sources) {
      const exports = stateOf(name).calls.filter((call) => call === "ExportImage arena");
      expect(exports.length).toBeLessThan(2);
    }
    const events = await fleet("events", "--berth", "arena-1");
    expect(events.out).toMatch(/placed +arena-1 on t1: image arena@2\.1 is not there, s1 and s2 have it/);
    expect((await fleet("explain", "arena-1")).out).toContain("arena-1: on t1; now t1 is the best for it\n");
    await fleet("rm", "arena");
  });

  it("a berth says that it waits, others start meanwhile, and another host is asked when the first one dies", async () => {
    await fleet("cordon", "t2");
    const calls = new EventEmitter();
    const begun = once(calls, "begun");
    const goesOn = once(calls, "goes on");
    for (const name of sources)
      stateOf(name).before = async (call) => {
        if (call !== "ExportImage held") return;
        calls.emit("begun", name);
        await goesOn;
      };
    expect(await apply("held", "held@1", pinned("held"))).toMatchObject({ code: 0 });
    const [asked] = await begun;
    await expect.poll(list, SOON).toMatch(/^held-1 t1 fetching image held@1, 0 %$/m);
    expect((await fleet("ls")).out).toMatch(/^held-1 +t1 +fetching .* image held@1, 0 %$/m);
    expect(await apply("quick", "arena@2.1", "")).toMatchObject({ code: 0 });
    await expect.poll(list, SOON).toMatch(/^held-1 t1 fetching.*\nquick-1 t1 occupied/m);
    await hostOf(asked).killAgent();
    await expect
      .poll(list, SOON)
      .toMatch(/^held-1 .* image held@1 cannot be fetched: cannot fetch from the store of s/m);
    calls.emit("goes on");
    await expect.poll(list, SOON).toMatch(/^held-1 t1 occupied/m);
    const other = asked === "s1" ? "s2" : "s1";
    expect(hostOf("t1").log).toContain(`image held@1 is here, from ${other}`);
    for (const name of sources) stateOf(name).before = async () => undefined;
    await hostOf(asked).startAgent();
    await fleet("rm", "held", "quick");
    await fleet("uncordon", "t2");
  });

  it("an image with another digest than the set names is refused, and stays a problem", async () => {
    expect(await apply("evil", "evil@1", pinned("evil"))).toMatchObject({ code: 0 });
    await expect
      .poll(list, SOON)
      .toMatch(/^evil-1 t1 problem .* its manifest has the digest sha256:\w+; sha256:\w+ is wanted; trying again$/m);
    const images = ["image", "ls", "--names", "--state", hostOf("t1").stateFile()];
    expect(execFileSync(process.execPath, [berthProgram, ...images], { encoding: "utf8" })).not.toContain("evil");
    await fleet("rm", "evil");
  });

  it("without a digest in the set a host must have the image, and the refusal says what to add", async () => {
    const refused = await apply("bare", "evil@1", "");
    expect(refused.code).toBe(1);
    expect(refused.out).toContain(
      `not t1: does not have image evil@1; to have it fetched, add to the set: ${pinned("evil")} (s1 has that)\n`,
    );
    await fleet("rm", "bare");
  });
});
