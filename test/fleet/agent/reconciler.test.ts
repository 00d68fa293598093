/** The rounds of an agent with a broker that is made up: what is in the way of a new berth, and goes. */
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { BerthFiles } from "../../../packages/fleet/src/agent/berth-files.ts";
import { BrokerLink } from "../../../packages/fleet/src/agent/broker-link.ts";
import { describeHost } from "../../../packages/fleet/src/agent/describe.ts";
import { Reconciler } from "../../../packages/fleet/src/agent/reconciler.ts";
import { problemOf } from "../../../packages/fleet/src/agent/rules/rules.ts";
import type { Assignment } from "../../../packages/fleet/src/index.ts";
import type { BerthRecord } from "../../../src/index.ts";
import { TestFolder } from "../../support/broker.ts";

/** Takes one berth file, as where all have the same port. Starts end when they are let go. */
class NarrowBroker extends BrokerLink {
  readonly #folder: string;
  #records = new Map<string, BerthRecord>();
  #left: BerthRecord | undefined;
  readonly stopped: string[] = [];
  starts = 0;
  letGo: () => void = () => undefined;

  constructor(folder: string) {
    super(undefined, () => undefined);
    this.#folder = folder;
  }

  override get berths(): ReadonlyMap<string, BerthRecord> {
    return this.#records;
  }

  override async present(): Promise<ReadonlyMap<string, BerthRecord>> {
    return this.#records;
  }

  override async reload(): Promise<string | undefined> {
    const names = readdirSync(this.#folder)
      .filter((file) => !file.startsWith("."))
      .map((file) => file.replace(".toml", ""));
    if (names.length > 1) return `${names.join(" and ")} have the same port`;
    this.#records = new Map(names.map((name) => [name, { name, state: "vacant", descriptors: [], since: 0 }]));
    for (const name of names) if (name === this.#left?.name) this.#records.set(name, this.#left);
    return undefined;
  }

  /** A berth that was removed, with its server: it comes back with its file, and so does its lease. */
  leave(name: string, since: number): void {
    this.#left = { name, state: "occupied", descriptors: [], since, lease: { id: "1", pid: 1, uid: 0, since } };
  }

  override async stop(berth: string): Promise<string | undefined> {
    this.stopped.push(berth);
    return undefined;
  }

  override async start(): Promise<string | undefined> {
    this.starts++;
    await new Promise<void>((resolve) => {
      this.letGo = resolve;
    });
    return "it was let go";
  }
}

it("tries a refused berth again once the one in its way is removed", async () => {
  using folder = new TestFolder();
  const files = new BerthFiles(folder.path);
  const broker = new NarrowBroker(folder.path);
  const stop = new AbortController();
  const said: string[] = [];
  const heard = async (sentence: string): Promise<void> =>
    await expect.poll(() => said.some((one) => one.includes(sentence)), { timeout: 30_000 }).toBe(true);
  const events = { changed: () => undefined, say: (sentence: string) => void said.push(sentence) };
  const reconciler = new Reconciler(
    files,
    broker,
    () => true,
    events,
    () => undefined,
  );
  const order = (berth: string, generation: number): void =>
    reconciler.order({ assignments: new Map([[berth, { berth, generation, config: {} }]]), holds: new Map() });
  const running = reconciler.run(stop.signal);

  order("old", 1);
  await heard("old of generation 1 is here");
  // It is being started, so it cannot be removed yet.
  order("new", 2);
  await heard("new is not served: ");
  broker.letGo();
  await heard("new of generation 2 is here");
  expect([...files.read()]).toEqual([["new", 2]]);

  stop.abort();
  broker.letGo();
  await running;
});

it("repeats the first start of a berth only while the host has its lease", async () => {
  using folder = new TestFolder();
  const broker = new NarrowBroker(folder.path);
  const stop = new AbortController();
  let [hasLease, looks] = [true, 0];
  const reconciler = new Reconciler(
    new BerthFiles(folder.path),
    broker,
    () => {
      looks++;
      return hasLease;
    },
    { changed: () => undefined, say: () => undefined },
    () => undefined,
  );
  reconciler.order({ assignments: new Map([["new", { berth: "new", generation: 1, config: {} }]]), holds: new Map() });
  const running = reconciler.run(stop.signal);
  await expect.poll(() => broker.starts).toBe(1);
  hasLease = false;
  broker.letGo();
  expect(new BerthFiles(folder.path).isUnstarted("new")).toBe(true); // what an agent that starts now would know
  // The repeat is due after a second, and asks for the lease.
  const before = looks;
  await expect.poll(() => looks).toBeGreaterThan(before);
  expect(broker.starts).toBe(1);
  hasLease = true;
  reconciler.look();
  await expect.poll(() => broker.starts).toBe(2);

  stop.abort();
  broker.letGo();
  await running;
});

it("knows that a berth has begun which an agent before it was starting", async () => {
  using folder = new TestFolder();
  const assignment = { berth: "new", generation: 1, config: {} };
  new BerthFiles(folder.path).write(assignment);
  const broker = new NarrowBroker(folder.path);
  broker.leave("new", Date.now() * 1000);
  await broker.reload();
  const stop = new AbortController();
  const events = { changed: () => undefined, say: () => undefined };
  const files = new BerthFiles(folder.path);
  const reconciler = new Reconciler(
    files,
    broker,
    () => false,
    events,
    () => undefined,
  );
  expect(files.isUnstarted("new")).toBe(true);
  reconciler.order({ assignments: new Map([["new", assignment]]), holds: new Map() });
  const running = reconciler.run(stop.signal);
  await expect.poll(() => new BerthFiles(folder.path).isUnstarted("new")).toBe(false);
  stop.abort();
  await running;
});

it.each([
  ["NAME.toml", (other: string) => writeFileSync(join(other, "web-1.toml"), "")],
  ["a mask", (other: string) => symlinkSync("/dev/null", join(other, "web-1.toml"))],
  ["drop-ins", (other: string) => mkdirSync(join(other, "web-1.toml.d"))],
  ["a server that was left", (_: string, broker: NarrowBroker) => broker.leave("web-1", (Date.now() - 1000) * 1000)],
])("does not touch a berth of the host of which there is %s", async (_, prepare) => {
  using folder = new TestFolder({ "own/.keep": "", "other/.keep": "" });
  const files = new BerthFiles(join(folder.path, "own"), [join(folder.path, "other")]);
  const broker = new NarrowBroker(files.folder);
  prepare(join(folder.path, "other"), broker);
  const stop = new AbortController();
  const said: string[] = [];
  const refused = new Promise<void>((resolve) => {
    const say = (sentence: string): void => {
      said.push(sentence);
      if (sentence.startsWith("web-1 is not served: ")) resolve();
    };
    const reconciler = new Reconciler(
      files,
      broker,
      () => true,
      { changed: () => undefined, say },
      () => undefined,
    );
    reconciler.order({
      assignments: new Map([["web-1", { berth: "web-1", generation: 1, config: {} }]]),
      holds: new Map(),
    });
    void reconciler.run(stop.signal);
  });
  await refused;
  expect(said.at(-1)).toMatch(/this host has \S*\/other\/web-1\.toml(?:\.d)? that is not|of a berth web-1 that is not/);
  await expect.poll(() => broker.berths.size).toBe(0);
  expect([...files.read()]).toEqual([]);
  expect(broker.stopped).toEqual([]);
  stop.abort();
});

it("serves no berth that this host forbids, ends it where it is served, and serves the others", async () => {
  using folder = new TestFolder();
  const files = new BerthFiles(folder.path);
  const broker = new NarrowBroker(folder.path);
  const config = { sockets: { game: { listen: "no list" } } };
  const bad = { berth: "bad-1", generation: 1, config };
  const good = { berth: "good-1", generation: 2, config: { sockets: { game: { listen: ["udp://127.0.0.1:1099"] } } } };
  files.write(bad); // an agent without these rules has done it
  await broker.reload();
  const stop = new AbortController();
  const said: string[] = [];
  const served = new Promise<void>((resolve) => {
    const say = (sentence: string): void => {
      said.push(sentence);
      if (sentence.startsWith("good-1 of generation 2 is here")) resolve();
    };
    const problem = (one: Assignment): string | undefined =>
      problemOf(one, { users: [], commands: [], keys: [], sockets: [], ports: [] });
    const reconciler = new Reconciler(files, broker, () => true, { changed: () => undefined, say }, problem);
    reconciler.order({ assignments: new Map([bad, good].map((one) => [one.berth, one])), holds: new Map() });
    expect(reconciler.why("bad-1", 1)).toMatch("listen: must be a list");
    expect(reconciler.wanted.size).toBe(2);
    // What the host says of itself, and so its lease, does not depend on a record that is wrong.
    const options = { name: "h1", addresses: [], pools: [], memory: 1, labels: {}, taints: [] };
    expect(reconciler.allowed).toEqual([good]);
    expect(describeHost(options, reconciler.allowed, undefined).name).toBe("h1");
    void reconciler.run(stop.signal);
  });
  await served;
  expect(said[0]).toBe("bad-1 is not served: bad-1: sockets.game: listen: must be a list, and is a string");
  expect([...files.read()]).toEqual([["good-1", 2]]);
  stop.abort();
  broker.letGo();
});
