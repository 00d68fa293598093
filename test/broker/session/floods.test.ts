/**
 * Users who flood the broker within their limits: everybody else is served as before. The floods and those who call
 * meanwhile are processes of their own, as users of their own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Pinger } from "../../support/attacks/pinger.ts";
import { descriptorCount, ownKiB } from "../../support/attacks/vitals.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { fixtures } from "../../support/puppet.ts";
import { asUser, endsWithTest, limitedTo } from "../../support/wrap.ts";

const TENANT = 65533;
const STRANGER = 65532;
const ATTACKER = 65531;

// What is measured is whom the broker serves, not whom the kernel's scheduler does.
const URGENT = ["nice", "-n", "-10"];
const UNHURRIED = ["nice", "-n", "19"];

/** Milliseconds that a flood lasts, and that nobody may wait for an answer. */
const FLOOD_MS = 3000;
const LONGEST_MS = 250;

/** What each connection of test/fixtures/flood.py does. */
type Kind = "nested" | "strings" | "calls" | "partial" | "connects" | "watches";

class Flood implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, "exit");
  }

  /** Resolves when all its connections are open. */
  static async start(socket: string, uid: number, kind: Kind, connections: number): Promise<Flood> {
    const wrap = [...UNHURRIED, ...endsWithTest, ...(uid === 0 ? [] : asUser(uid)), "env"];
    const [command = "", ...args] = [...wrap, "python3", "-S", join(fixtures, "flood.py"), socket, kind];
    const child = spawn(command, [...args, String(connections)], { stdio: ["pipe", "pipe", "inherit"] });
    const flood = new Flood(child);
    if (child.stdout === null) throw new Error("no stdout");
    const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
    if (value !== "going") throw new Error("flood.py did not start");
    return flood;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

async function urgentBroker(nofile: number, wrap: readonly string[] = []): Promise<BrokerProcess> {
  const berth = `[sockets.a]\nlisten = ["tcp://127.0.0.1:${await freePort()}"]\n[tenant]\nusers = [${TENANT}]`;
  return await spawnBroker({ "a.toml": berth }, ["--log-level", "warning"], [...URGENT, ...limitedTo(nofile), ...wrap]);
}

/** The slowest answer that each of these users had while a flood lasted. All calls had an answer. */
async function slowest(
  broker: BrokerProcess,
  connection: "kept" | "new",
  uids: readonly number[],
  ms: number,
): Promise<number[]> {
  const pingers = await Promise.all(uids.map((uid) => Pinger.start(broker.socket, { uid, connection })));
  await setTimeout(ms);
  const results = await Promise.all(pingers.map((pinger) => pinger.stop()));
  for (const result of results) expect(result).toMatchObject({ refused: 0, cut: 0 });
  return results.map(({ longest }) => longest);
}

describe("a user who floods the broker (needs root, to be several users)", needs("root", "setpriv"), () => {
  it.each<[string, Kind, number]>([
    ["calls of 1 MiB that nest arrays", "nested", 250],
    ["calls of 1 MiB with a long text", "strings", 250],
    ["small calls, as fast as it can", "calls", 250],
    ["calls that it begins and does not end", "partial", 250],
    ["connections", "connects", 1],
  ])("with %s: the others are served as before", async (_, kind, connections) => {
    await using broker = await urgentBroker(20_000);
    const before = { memory: ownKiB(broker.pid), descriptors: descriptorCount(broker.pid) };
    {
      await using _flood = await Flood.start(broker.socket, ATTACKER, kind, connections);
      const both = await Promise.all([
        slowest(broker, "kept", [TENANT, STRANGER, 0], FLOOD_MS),
        slowest(broker, "new", [TENANT, STRANGER, 0], FLOOD_MS),
      ]);
      expect(Math.max(...both.flat())).toBeLessThan(LONGEST_MS);
      expect(ownKiB(broker.pid) - before.memory).toBeLessThan(100 * 1024);
    }
    await expect.poll(() => descriptorCount(broker.pid)).toBe(before.descriptors);
  });

  it("who may send calls of 1 MiB: the others are served as before", async () => {
    await using broker = await urgentBroker(20_000);
    const before = ownKiB(broker.pid);
    await using _nested = await Flood.start(broker.socket, TENANT, "nested", 100);
    await using _strings = await Flood.start(broker.socket, TENANT, "strings", 100);
    expect(Math.max(...(await slowest(broker, "new", [STRANGER, 0], FLOOD_MS)))).toBeLessThan(LONGEST_MS);
    expect(ownKiB(broker.pid) - before).toBeLessThan(150 * 1024);
  });

  it("as 1400 users with a watch each, beside 1024 descriptors: root and others are served", async () => {
    await using broker = await urgentBroker(1024);
    await using _flood = await Flood.start(broker.socket, 0, "watches", 1400);
    const both = await Promise.all([
      slowest(broker, "new", [TENANT, STRANGER, 0], FLOOD_MS),
      slowest(broker, "kept", [0], FLOOD_MS),
    ]);
    expect(Math.max(...both.flat())).toBeLessThan(LONGEST_MS);
  });

  it(
    "as 1400 subordinate users: they have what one user has (needs unshare, for a subuid of its own)",
    needs("unshare"),
    async () => {
      using etc = new TestFolder({ subuid: `${ATTACKER}:1000000:65536\n` });
      const mount = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        `mount --bind ${etc.path}/subuid /etc/subuid && exec "$@"`,
        "sh",
      ];
      await using broker = await urgentBroker(20_000, mount);
      const before = descriptorCount(broker.pid);
      await using _flood = await Flood.start(broker.socket, 0, "watches", 1400);
      expect(Math.max(...(await slowest(broker, "new", [STRANGER, 0], 1000)))).toBeLessThan(LONGEST_MS);
      expect(descriptorCount(broker.pid) - before).toBeGreaterThan(200);
      await expect.poll(() => descriptorCount(broker.pid) - before).toBeLessThanOrEqual(256);
    },
  );
});
