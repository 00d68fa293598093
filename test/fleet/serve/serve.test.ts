/** `berth-fleet serve`: matchmakers that speak to Agones get berths, with a real etcd and made-up hosts. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EtcdClient, Fleet, Keys } from "../../../packages/fleet/src/index.ts";
import { TestFolder } from "../../support/broker.ts";
import { shareEtcd, type TestEtcd } from "../../support/fleet/etcd.ts";
import { fleetCommand, runFleet } from "../../support/fleet/host.ts";
import { addHost, report, setOf } from "../../support/fleet/made-up.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";

const KUBERNETES = "/apis/allocation.agones.dev/v1/namespaces/default/gameserverallocations";
const SERVICE = "/gameserverallocation";
const TOKEN = "0123456789abcdef";

/** A running `serve`. */
class Served implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly log: string;

  private constructor(child: ChildProcess, log: string) {
    this.#child = child;
    this.log = log;
  }

  static async start(...options: readonly string[]): Promise<Served> {
    const child = spawn(...fleetCommand("serve", ...options), { stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (chunk) => {
        log += chunk;
        if (log.includes("allocates on")) resolve();
      });
      child.once("close", () => reject(new Error(`berth-fleet serve has ended:\n${log}`)));
    });
    return new Served(child, log);
  }

  async end(signal: NodeJS.Signals): Promise<unknown> {
    const closed = once(this.#child, "close");
    this.#child.kill(signal);
    return await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.end("SIGKILL");
  }
}

describe("berth-fleet serve", { ...needs("etcd"), timeout: 60_000 }, () => {
  const keys = new Keys("/serve/");
  let etcd: TestEtcd;
  let client: EtcdClient;
  let served: Served;
  let port = 0;
  shareEtcd((...both) => {
    [etcd, client] = both;
  });
  beforeAll(async () => {
    port = await freePort();
    served = await Served.start("--etcd", etcd.endpoint, "--prefix", keys.prefix, "--listen", `127.0.0.1:${port}`);
    await addHost(client, keys, "h1", { pools: [{ first: 1000, last: 1100 }], labels: { region: "eu" } });
  }, 60_000);
  afterAll(async () => {
    await served[Symbol.asyncDispose]();
  });

  const usual = { method: "POST", headers: { "content-type": "application/json" } };
  const ask = async (path: string, body: unknown, more: object = {}) => {
    const whole = typeof body === "string" ? body : JSON.stringify(body);
    const sent = request({ ...usual, host: "127.0.0.1", port, path, ...more });
    sent.end(whole);
    const [response]: IncomingMessage[] = await once(sent, "response");
    if (response === undefined) throw new Error("there is no response");
    return { code: response.statusCode, body: JSON.parse(await text(response)) };
  };
  const selector = (set: string, more: object = {}) => ({ matchLabels: { "agones.dev/fleet": set }, ...more });

  it("allocates as Kubernetes does, also with what Go's client leaves empty", async () => {
    await new Fleet(client, keys).apply(setOf("arena", { count: 1 }));
    await report(client, keys, "arena", { server: "lease-1" });
    const spec = {
      ...{ selectors: [selector("nothing"), selector("arena")], scheduling: "Packed" },
      ...{ multiClusterSetting: { policySelector: {} }, required: {}, metadata: {} },
    };
    const asked = {
      ...{ apiVersion: "allocation.agones.dev/v1", kind: "GameServerAllocation", spec },
      ...{ metadata: { creationTimestamp: null }, status: { state: "", gameServerName: "" } },
    };
    const { code, body } = await ask(KUBERNETES, asked);
    expect(code).toBe(201);
    expect(body).toMatchObject({
      ...{ kind: "GameServerAllocation", apiVersion: "allocation.agones.dev/v1", spec },
      metadata: { name: "arena-1", namespace: "default" },
      status: {
        ...{ state: "Allocated", gameServerName: "arena-1", ports: [{ name: "game", port: 1000 }] },
        ...{ address: "h1.example.org", nodeName: "h1", source: "local" },
        addresses: [{ type: "Hostname", address: "h1.example.org" }],
        metadata: { labels: { "agones.dev/fleet": "arena" } },
      },
    });
    expect(await ask(KUBERNETES, asked)).toMatchObject({ code: 201, body: { status: { state: "UnAllocated" } } });
  });

  it("allocates as the allocator service of Agones does, with players who join", async () => {
    await new Fleet(client, keys).apply(setOf("lobby", { count: 1 }));
    await report(client, keys, "lobby", { server: "lease-1", players: 0, max: 10 });
    const players = { minAvailable: "4" };
    const joins = { gameServerSelectors: [selector("lobby", { gameServerState: "ALLOCATED", players })] };
    const none = await ask(SERVICE, joins);
    expect(none).toMatchObject({ code: 429, body: { code: 8, message: expect.stringContaining("no berth of lobby") } });
    const ready = { namespace: "default", gameServerSelectors: [selector("lobby", { players })] };
    expect(await ask(SERVICE, ready)).toMatchObject({ code: 200, body: { gameServerName: "lobby-1", nodeName: "h1" } });
    expect(await ask(SERVICE, joins)).toMatchObject({ code: 200, body: { gameServerName: "lobby-1" } });
    expect(await ask(SERVICE, joins)).toMatchObject({ code: 429 });
    const elsewhere = { gameServerSelectors: [{ matchLabels: { "agones.dev/fleet": "lobby", region: "us" } }] };
    expect((await ask(SERVICE, elsewhere)).body.message).toContain("1 on hosts without these labels");
  });

  it.each([
    ["is no JSON", 400, SERVICE, "{"],
    ["has no selector", 400, SERVICE, {}],
    ["agones.dev/fleet is missing", 400, SERVICE, { gameServerSelectors: [{ matchLabels: {} }] }],
    ["there is no key counters", 400, SERVICE, { gameServerSelectors: [selector("a", { counters: {} })] }],
    ["needs players", 400, SERVICE, { gameServerSelectors: [selector("a", { gameServerState: "Allocated" })] }],
    ["from 1 to", 400, SERVICE, { gameServerSelectors: [selector("a", { players: { minAvailable: 0 } })] }],
    ["more than 16 selectors", 400, SERVICE, { gameServerSelectors: new Array(17).fill(selector("a")) }],
    ["cannot be used here", 400, SERVICE, { gameServerSelectors: [selector("a")], metadata: { labels: { a: "b" } } }],
    ["no other cluster", 400, SERVICE, { multiClusterSetting: { enabled: true } }],
    ["GameServerAllocation", 400, KUBERNETES, { kind: "GameServer", spec: {} }],
    ["at most 65536 bytes", 413, SERVICE, " ".repeat(70_000)],
    ["no such path", 404, "/elsewhere", {}],
  ])("refuses a request: %s (%i)", async (message, code, path, body) => {
    expect(await ask(path, body)).toMatchObject({ code, body: { message: expect.stringContaining(message) } });
  });

  it("refuses other methods, other bodies, and the pages of browsers", async () => {
    expect(await ask(SERVICE, "", { method: "PUT" })).toMatchObject({ code: 405 });
    expect(await ask(SERVICE, "{}", { headers: { "content-type": "text/plain" } })).toMatchObject({ code: 415 });
    const headers = { ...usual.headers, origin: "http://127.0.0.1" };
    expect(await ask(SERVICE, "{}", { headers })).toMatchObject({ code: 403 });
  });

  it("asks for its token, on a UNIX socket of the group as well, and takes the place of one that was killed", async () => {
    using folder = new TestFolder({ token: `${TOKEN}\n` });
    const path = join(folder.path, "socket");
    const options = ["--etcd", etcd.endpoint, "--prefix", keys.prefix, "--listen", path];
    await using killed = await Served.start(...options);
    await killed.end("SIGKILL");
    expect(existsSync(path)).toBe(true);
    await using now = await Served.start(...options, "--token-file", join(folder.path, "token"));
    expect(now.log).toBe(`berth-fleet: allocates on ${path}\n`);
    expect(statSync(path).mode & 0o777).toBe(0o660);
    const over = (authorization: string) =>
      ask(SERVICE, {}, { socketPath: path, headers: { ...usual.headers, authorization } });
    expect(await over("")).toMatchObject({ code: 401, body: { code: 16 } });
    expect(await over(`Bearer ${TOKEN}0`)).toMatchObject({ code: 401 });
    expect(await over(`Bearer ${TOKEN}`)).toMatchObject({ code: 400 });
    const second = await runFleet(etcd.endpoint, "serve", "--listen", path);
    expect(second).toMatchObject({ code: 100, err: expect.stringContaining("EADDRINUSE") });
    expect(await now.end("SIGTERM")).toEqual([0, null]);
    expect(existsSync(path)).toBe(false);
  });

  it("says so while etcd is down, and goes on afterwards", async () => {
    const health = async () => {
      const response = await fetch(`http://127.0.0.1:${port}/healthz`);
      await response.text();
      return response.status;
    };
    expect(await health()).toBe(200);
    await etcd.kill();
    const asked = { gameServerSelectors: [selector("arena")] };
    expect(await ask(SERVICE, asked)).toMatchObject({ code: 503, body: { code: 14, message: "etcd does not answer" } });
    await expect.poll(health, { timeout: 30_000 }).toBe(503);
    await etcd.restart();
    await expect.poll(health, { timeout: 30_000 }).toBe(200);
    expect(await ask(SERVICE, asked)).toMatchObject({ code: 429 });
  });
});
