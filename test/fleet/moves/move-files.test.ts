/**
 * A berth moves with its files between real agents and brokers on loopback: once with the root program that reads and
 * replaces them, and where it has to fail or wait with a stand-in for it.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EtcdClient, Keys } from "../../../packages/fleet/src/index.ts";
import { packageRoot } from "../../../src/native.ts";
import { TestFolder } from "../../support/broker.ts";
import { Certificates } from "../../support/fleet/certificates.ts";
import { TestEtcd } from "../../support/fleet/etcd.ts";
import { freePools, runFleet, TestHost } from "../../support/fleet/host.ts";
import { StateService } from "../../support/fleet/state-service.ts";
import { StateStandIn } from "../../support/fleet/state-stand-in.ts";
import { randomBytes } from "../../support/fleet/world.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";

const SOON = { timeout: 60_000, interval: 100 };
const MB = 1_000_000;
/** `npm run fleet:move` moves a world of 300 MB, and prints what is measured. */
const given = process.env["BERTHD_MOVE_MEGABYTES"];
const MEGABYTES = Number(given ?? 16);

describe("moving berths with their files", { ...needs("casync", "etcd", "openssl", "root"), timeout: 180_000 }, () => {
  const folder = new TestFolder({ "image/readme": "an image\n" });
  const keys = new Keys();
  const hosts = new Map<string, TestHost>();
  const states = new Map<string, StateStandIn>();
  const services: StateService[] = [];
  let certificates: Certificates;
  let etcd: TestEtcd;
  let client: EtcdClient;

  beforeAll(async () => {
    certificates = new Certificates("server", "root", "h1", "h2", "real-1", "real-2");
    etcd = await TestEtcd.start({ scheme: "https", args: certificates.ofServer("server") });
    client = new EtcdClient([etcd.endpoint], certificates.tls("root"));
    for (const name of ["h1", "h2"]) {
      const state = await StateStandIn.start(() => host(name));
      states.set(name, state);
      await addHost(name, state.socket);
    }
    for (const name of ["real-1", "real-2"]) {
      const socket = join(folder.path, `${name}.sock`);
      await addHost(name, socket);
      const folders = ["--folder", host(name).stateFile("..", "berths"), "--state", host(name).stateFile()];
      const none = ["--config", join(folder.path, "none")];
      services.push(await StateService.start(socket, [...folders, ...none, "--socket", host(name).socket]));
    }
  }, 120_000);
  async function addHost(name: string, stateSocket: string): Promise<void> {
    const store = ["--store", join(folder.path, name), "--store-listen", `127.0.0.1:${await freePort()}`];
    const files = ["--state-socket", stateSocket, ...store, ...certificates.options(name)];
    hosts.set(name, await TestHost.start(name, etcd.endpoint, ...(await freePools(2)), ...files));
  }
  afterAll(async () => {
    for (const one of hosts.values()) await one[Symbol.asyncDispose]();
    for (const one of [...states.values(), ...services]) await one[Symbol.asyncDispose]();
    client[Symbol.dispose]();
    await etcd[Symbol.asyncDispose]();
    certificates[Symbol.dispose]();
    folder[Symbol.dispose]();
  }, 120_000);

  function host(name: string): TestHost {
    const found = hosts.get(name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }
  function stateOf(name: string): StateStandIn {
    const found = states.get(name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }
  const fleet = (...args: string[]) => runFleet(etcd.endpoint, ...args, ...certificates.options("root"));
  /** Applies a set of one berth on a host, whose server has a world, and waits until it has been written. */
  async function start(name: string, megabytes: number, image = `${folder.path}/image`, on = "h1"): Promise<string> {
    folder.write({
      "world.py": readFileSync(join(packageRoot, "test/fixtures/fleet/world.py"), "utf8"),
      [`${name}.toml`]: `name = "${name}"
[berth.root]
image = "${image}"
[berth.server]
command = ["python3", "${folder.path}/world.py", "{root}", "${megabytes}"]
user = "range"
`,
    });
    const others = [...hosts.keys()].filter((one) => one !== on);
    for (const other of others) await fleet("cordon", other);
    expect(await fleet("apply", `${folder.path}/${name}.toml`)).toMatchObject({ code: 0, err: "" });
    for (const other of others) await fleet("uncordon", other);
    const berth = `${name}-1`;
    await expect.poll(() => existsSync(upper(on, berth, "servers")), SOON).toBe(true);
    return berth;
  }
  const upper = (on: string, berth: string, file: string) => host(on).stateFile("roots", berth, "upper", file);
  /** Of each server that has run on these files: its generation, and the world that it found. */
  const serversIn = (on: string, berth: string) =>
    readFileSync(upper(on, berth, "servers"), "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
  const worldIn = (on: string, berth: string) =>
    createHash("sha256")
      .update(readFileSync(upper(on, berth, "world")))
      .digest("hex");
  const placed = async (berth: string): Promise<{ readonly host: string; readonly generation: number }> => {
    const { lists } = await client.read({ key: keys.of({ kind: "placement", berth }) });
    return JSON.parse(lists[0][0]?.value ?? "");
  };
  const runningOn = async (berth: string): Promise<string[]> => {
    const found: string[] = [];
    for (const [name, one] of hosts) if ((await one.servers()).get(berth) !== undefined) found.push(name);
    return found;
  };

  function importImage(on: string): void {
    const image = [join(packageRoot, "dist/berth/berth.cjs"), "image", "import", "--version", "1"];
    const state = ["--state", host(on).stateFile(), "tree", `${folder.path}/image`];
    execFileSync(process.execPath, [...image, ...state], { stdio: "pipe" });
  }

  it("sends a world while its server runs, and what changes after it has ended; the way back sends little", async () => {
    const berth = await start("world", MEGABYTES);
    const moved = await fleet("move", berth, "--to", "h2", "--deadline", "0", "--json");
    expect(moved.err).toBe("");
    const { sent, downMs, generation } = JSON.parse(moved.out);
    expect(sent.archive).toBeGreaterThan(MEGABYTES * MB);
    expect(sent.before).toBeGreaterThan(MEGABYTES * MB);
    expect(sent.after).toBeGreaterThan(0);
    expect(sent.after).toBeLessThan(4 * MB);
    expect(downMs).toBeGreaterThan(0);
    await expect.poll(() => serversIn("h2", berth).length, SOON).toBe(2);
    // The second server has found what the first one has left.
    expect(serversIn("h2", berth)[1]).toEqual([String(generation), worldIn("h1", berth)]);
    expect(await runningOn(berth)).toEqual(["h2"]);
    expect(await host("h1").berths()).toEqual([]);
    expect(stateOf("h1").calls).toEqual([`Save live ${berth}`, `Save last ${berth}`]);
    expect(stateOf("h2").calls).toEqual(["ExportImage none", `Restore ${berth}`]);
    expect((await fleet("events", "--berth", berth)).out).toMatch(
      /moved +world-1 on h2, before on h1: its files, \d+\.\d MB/,
    );

    const back = await fleet("move", berth, "--to", "h1", "--deadline", "0");
    expect(back.err).toMatch(/world-1: sending \d+\.\d MB to h1, while the server runs/);
    expect(back.out).toMatch(
      /its files, \d+\.\d MB: .* sent while the server ran, .* after it had ended\nwithout a server for \d+\.\d s\n$/,
    );
    const before = /: (\d+\.\d) ([kM]B) sent while/.exec(back.out);
    expect(before?.[2] === "kB" || Number(before?.[1]) < 6).toBe(true);
    if (given !== undefined) console.log(`there: ${JSON.stringify({ ...sent, downMs })}\nback: ${back.out}`);
    await expect.poll(() => serversIn("h1", berth).length, SOON).toBe(3);
    expect(serversIn("h1", berth)[2]?.[1]).toBe(worldIn("h2", berth));
    await fleet("rm", "world");
  });

  it("a host that cannot take the files leaves the berth where it was, and has no berth of it", async () => {
    const berth = await start("stay", 2);
    stateOf("h2").before = async (call) => {
      if (call.startsWith("Restore")) throw new Error("the disk is full");
    };
    const failed = await fleet("move", berth, "--to", "h2", "--deadline", "0");
    stateOf("h2").before = async () => undefined;
    expect(failed).toMatchObject({ code: 1, out: "" });
    expect(failed.err).toContain("stay-1 stays on h1: h2: the disk is full");
    await expect.poll(() => runningOn(berth), SOON).toEqual(["h1"]);
    await expect.poll(() => serversIn("h1", berth).length, SOON).toBe(2);
    await expect.poll(() => host("h2").berths(), SOON).toEqual([]);
    const [first, second] = serversIn("h1", berth);
    expect(first?.[0]).toBe(second?.[0]);
    await fleet("rm", "stay");
  });

  it("a host whose broker refuses its configuration is found before anything is drained", async () => {
    const berth = await start("typo", 1);
    stateOf("h1").calls.length = 0;
    const typo = host("h2").stateFile("..", "berths", "typo-of-the-admin.toml");
    writeFileSync(typo, "[root\n");
    const failed = await fleet("move", berth, "--to", "h2", "--deadline", "0");
    rmSync(typo);
    expect(failed).toMatchObject({ code: 1, out: "" });
    expect(failed.err).toMatch(/typo-1 stays on h1: h2: the broker refuses .*typo-of-the-admin/);
    expect(stateOf("h1").calls).not.toContain(`Save last ${berth}`);
    expect(serversIn("h1", berth).length).toBe(1);
    // The host is as it was: the berth can move there now.
    expect(await fleet("move", berth, "--to", "h2", "--deadline", "0")).toMatchObject({ code: 0 });
    await fleet("rm", "typo");
  });

  for (const [victim, call] of [
    ["h1", "Save last"],
    ["h2", "Restore"],
  ] as const)
    it(`an agent that is killed in ${call} leaves one server, with the whole world`, async () => {
      const berth = await start(`killed-${call.toLowerCase().replace(" ", "-")}`, 2);
      const state = stateOf(victim);
      const calls = new EventEmitter();
      const begun = once(calls, "begun");
      const goesOn = once(calls, "goes on");
      state.before = async (name) => {
        if (!name.startsWith(call)) return;
        calls.emit("begun");
        await goesOn;
      };
      const moving = fleet("move", berth, "--to", "h2", "--deadline", "0");
      await begun;
      await host(victim).killAgent();
      expect((await runningOn(berth)).length).toBeLessThan(2);
      state.before = async () => undefined;
      await host(victim).startAgent();
      calls.emit("goes on");
      const { code } = await moving;
      const { host: on, generation } = await placed(berth);
      expect(on).toBe(code === 0 ? "h2" : "h1");
      await expect.poll(() => runningOn(berth), SOON).toEqual([on]);
      await expect.poll(() => serversIn(on, berth).length, SOON).toBe(2);
      const [, last] = serversIn(on, berth);
      expect(last?.[0]).toBe(String(generation));
      if (on === "h2") expect(last?.[1]).toBe(worldIn("h1", berth));
      await expect.poll(async () => (await host(on === "h1" ? "h2" : "h1").berths()).length, SOON).toBe(0);
      await fleet("rm", berth.replace(/-1$/, ""));
    });

  it("by the root program itself: the server finds its files on a host that had neither them nor the image", async () => {
    importImage("real-1");
    const berth = await start("real", 2, "tree@1", "real-1");
    const owner = statSync(upper("real-1", berth, "world")).uid;
    const moved = await fleet("move", berth, "--to", "real-2", "--deadline", "0");
    expect(moved).toMatchObject({ code: 0 });
    expect(moved.err).toMatch(/real-1: the image tree@1 goes to real-2: [\d.]+ kB/);
    await expect.poll(() => serversIn("real-2", berth).length, SOON).toBe(2);
    expect(serversIn("real-2", berth)[1]?.[1]).toBe(worldIn("real-1", berth));
    // Ids are of the range that the berth has there.
    expect(statSync(upper("real-2", berth, "world")).uid % 65_536).toBe(owner % 65_536);
    expect(await runningOn(berth)).toEqual(["real-2"]);
    await fleet("rm", "real");
  });

  it("an image that names its version goes first to a host that does not have it", async () => {
    for (const name of states.keys()) importImage(name);
    const content = randomBytes(9, 3 * 1024 * 1024);
    writeFileSync(stateOf("h1").imageFile("tree", "1"), content);
    const berth = await start("imaged", 1, "tree@1");
    const moved = await fleet("move", berth, "--to", "h2", "--deadline", "0");
    expect(moved).toMatchObject({ code: 0 });
    expect(moved.err).toContain("imaged-1: the image tree@1 goes to h2: 3.1 MB");
    expect(readFileSync(stateOf("h2").imageFile("tree", "1")).equals(content)).toBe(true);

    // A program that can send no images: the other host's broker has this one already.
    rmSync(stateOf("h1").imageFile("tree", "1"));
    stateOf("h2").before = async (call) => {
      if (call.startsWith("ExportImage")) throw new Error("there is no method ExportImage");
    };
    const back = await fleet("move", berth, "--to", "h1", "--deadline", "0");
    stateOf("h2").before = async () => undefined;
    expect(back).toMatchObject({ code: 0 });
    expect(back.err).toContain("imaged-1: the image tree@1 was not sent: h2: there is no method ExportImage");
    await fleet("rm", "imaged");
  });
});
