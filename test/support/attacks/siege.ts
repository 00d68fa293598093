/**
 * A broker under attack, in a process of its own, and other clients of it: they ask 100 times a second, and must not
 * notice. Berth `prey` may be taken by the attacker's user, `bystander` by another. Declare it before its attackers.
 */
import { setPriority } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { expect } from "vitest";
import { packageRoot } from "../../../src/native.ts";
import { type BrokerProcess, type ConfigFiles, isReady, launchBroker, spawnBroker } from "../broker.ts";
import { Attacker } from "./attacker.ts";
import { Pinger, type Pings } from "./pinger.ts";
import { descriptorCount, isAlive, ownKiB, threads } from "./vitals.ts";

/** Who attacks: a user that may take no berth, or one that has taken `prey`. */
export const STRANGER = 65_533;
export const TENANT = 65_534;
const BYSTANDER = 65_532;

/** The longest that any other client may wait, and for how much longer than the attack they are watched. */
const LONGEST_MS = 250;
const AFTERMATH_MS = 1000;
/** How long what ends the attack may take. */
const PATIENCE_MS = 20_000;
/** What the broker's memory in use may differ by: malloc(3) gives back what it has used when it likes. */
const MEMORY_KIB = 24 * 1024;
/** What a broker may have open for a while, of the attack's and of its own. */
const DESCRIPTORS = 600;

const files = {
  "prey.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[tenant]\nusers = [${TENANT}]\n[server]\nuser = "nobody"\ndeliver = ["bind"]`,
  "bystander.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]\n[tenant]\nusers = [${BYSTANDER}]`,
};

/** Milliseconds that a peer may take to read: the broker closes its connection then. */
export const DEADLINE_MS = 2000;

/** Makes the broker collect its garbage at SIGUSR2. */
const COLLECTOR = `--import=${pathToFileURL(join(packageRoot, "test/fixtures/collect.mjs")).href}`;

export class Siege implements AsyncDisposable {
  readonly broker: BrokerProcess;
  readonly #pingers: readonly Pinger[];
  readonly #descriptors: number;
  readonly #memory: number;
  #next: BrokerProcess | undefined;

  private constructor(broker: BrokerProcess, pingers: readonly Pinger[], memory: number) {
    this.broker = broker;
    this.#pingers = pingers;
    this.#descriptors = descriptorCount(broker.pid);
    this.#memory = memory;
  }

  /** With more berths, if so wished. */
  static async begin(berths: ConfigFiles = {}): Promise<Siege> {
    const broker = await spawnBroker(
      { ...files, ...berths },
      ["--deadline", String(DEADLINE_MS / 1000)],
      ["env", `NODE_OPTIONS=${COLLECTOR}`],
    );
    const pingers: Pinger[] = [];
    try {
      // What else the machine does is no part of the attack.
      for (const thread of threads(broker.pid)) setPriority(thread, -15);
      for (const uid of [0, BYSTANDER])
        for (const connection of ["kept", "new"] as const)
          pingers.push(await Pinger.start(broker.socket, { connection, uid }));
      return new Siege(broker, pingers, await memoryInUse(broker));
    } catch (error) {
      for (const pinger of pingers) await pinger[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
      throw error;
    }
  }

  get socket(): string {
    return this.broker.socket;
  }

  /** An attacker with connection `c`; one that is the tenant has taken `prey`, and has its socket as `received`. */
  async attacker(uid: number): Promise<Attacker> {
    const attacker = new Attacker(uid);
    try {
      await attacker.do(`connect c ${this.socket}`);
      if (uid === TENANT) expect(await attacker.call("c", "Acquire", { berth: "prey" })).toContain('"lease":');
      return attacker;
    } catch (error) {
      await attacker[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * What other clients have seen until a while after the broker has come to `over`: each was answered, and soon. Ends
   * their asking.
   */
  async nobodyNoticed(over: () => boolean = () => true, patience = PATIENCE_MS): Promise<void> {
    const deadline = performance.now() + patience;
    while (!over() && performance.now() < deadline) await pause(20);
    await pause(AFTERMATH_MS); // what is to be seen is that nothing happens
    const seen: Pings[] = await Promise.all(this.#pingers.map((pinger) => pinger.stop()));
    for (const pings of seen) expect(pings).toMatchObject({ refused: 0, cut: 0 });
    expect(Math.max(...seen.map(({ longest }) => longest))).toBeLessThan(LONGEST_MS);
    expect(over(), `the broker logged:\n${this.#said()}\n`).toBe(true);
  }

  /** The broker that {@link canBeKilledAndStarted} has started. */
  get successor(): BrokerProcess {
    if (this.#next === undefined) throw new Error("the broker has not been killed");
    return this.#next;
  }

  /** Whether a line of its log has these words. */
  hasLogged(words: string): boolean {
    return this.broker.log.some(({ message }) => message.includes(words));
  }

  #said(): string {
    return this.broker.log.map(({ message }) => message).join("\n");
  }

  /** While it lasts, the attack takes no more than a few descriptors. */
  descriptorsAreBounded(): void {
    expect(descriptorCount(this.broker.pid)).toBeLessThan(this.#descriptors + DESCRIPTORS);
  }

  /** The attackers are gone: so is what they took. */
  async nothingIsLeft(): Promise<void> {
    for (const pinger of this.#pingers) await pinger[Symbol.asyncDispose]();
    await expect.poll(() => descriptorCount(this.broker.pid)).toBeLessThanOrEqual(this.#descriptors);
    await expect.poll(async () => (await memoryInUse(this.broker)) - this.#memory).toBeLessThan(MEMORY_KIB);
  }

  /** While the attack lasts: SIGKILL ends the broker, and the next one serves in its place. */
  async canBeKilledAndStarted(): Promise<void> {
    this.broker.child.kill("SIGKILL");
    await expect.poll(() => isAlive(this.broker.pid), { timeout: 30_000 }).toBe(false);
    const next = launchBroker(this.broker.folder);
    this.#next = next; // if the attack holds it up as well, it can only be waited for when the attack is over
    // Shows what the next one has logged, if that is not all.
    const events = (): string[] => next.log.map((one) => (isReady(one) ? "ready" : one.message));
    await expect.poll(events).toContain("ready");
    await using pinger = await Pinger.start(next.socket);
    expect(await pinger.stop()).toMatchObject({ refused: 0, cut: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pinger of this.#pingers) await pinger[Symbol.asyncDispose]();
    await this.#next?.[Symbol.asyncDispose]();
    await this.broker[Symbol.asyncDispose]();
  }
}

/**
 * A broker's own memory in KiB once it has collected its garbage, without what V8 keeps for later: that is up to 32 MiB
 * of a young generation that had to grow, for as long as it likes.
 */
async function memoryInUse(broker: BrokerProcess): Promise<number> {
  const reports = broker.log.filter(({ message }) => message.startsWith("collected ")).length;
  broker.child.kill("SIGUSR2");
  const report = await broker.logged(({ message }) => message === `collected ${reports + 1}`);
  return ownKiB(broker.pid) - Number(report["spare"]);
}
