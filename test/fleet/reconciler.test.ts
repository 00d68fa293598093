/** The rounds of an agent with a broker that is made up: what is in the way of a new berth, and goes. */
import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { BerthFiles } from "../../packages/fleet/src/agent/berth-files.ts";
import { BrokerLink } from "../../packages/fleet/src/agent/broker-link.ts";
import { Reconciler } from "../../packages/fleet/src/agent/reconciler.ts";
import type { BerthRecord } from "../../src/index.ts";
import { TestFolder } from "../support/broker.ts";

/** Takes one berth file, as where all have the same port. Starts end when they are let go. */
class NarrowBroker extends BrokerLink {
  readonly #folder: string;
  #records = new Map<string, BerthRecord>();
  letGo: () => void = () => undefined;

  constructor(folder: string) {
    super(undefined, () => undefined);
    this.#folder = folder;
  }

  override get berths(): ReadonlyMap<string, BerthRecord> {
    return this.#records;
  }

  override async names(): Promise<ReadonlySet<string>> {
    return new Set(this.#records.keys());
  }

  override async reload(): Promise<string | undefined> {
    const names = readdirSync(this.#folder).map((file) => file.replace(".toml", ""));
    if (names.length > 1) return `${names.join(" and ")} have the same port`;
    this.#records = new Map(names.map((name) => [name, { name, state: "vacant", descriptors: [], since: 0 }]));
    return undefined;
  }

  override async start(): Promise<string | undefined> {
    await new Promise<void>((resolve) => {
      this.letGo = resolve;
    });
    return "it was let go";
  }
}

it("tries a refused berth again once the one in its way is removed", { timeout: 30_000 }, async () => {
  using folder = new TestFolder();
  const files = new BerthFiles(folder.path);
  const broker = new NarrowBroker(folder.path);
  const stop = new AbortController();
  const said: string[] = [];
  const heard = async (sentence: string): Promise<void> =>
    await expect.poll(() => said.some((one) => one.includes(sentence)), { timeout: 20_000 }).toBe(true);
  const reconciler = new Reconciler(files, broker, () => true, {
    changed: () => undefined,
    say: (sentence) => said.push(sentence),
  });
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
