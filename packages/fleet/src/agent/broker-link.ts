/** The broker of this host: what it has, and what the agent asks of it. A broker that goes away is tried again. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { BerthError, type BerthRecord, type BrokerClient, connect, RefusedError } from "berthd";
import { sleep } from "../etcd/follow.ts";

/** `berth` of the package berthd. */
const BERTH = berthProgram();

const PAUSE_MS = 500;
const ASK_MS = 30_000;
const START_MS = 60_000;

export class BrokerLink {
  readonly #socket: string | undefined;
  readonly #changed: () => void;
  #berths: Map<string, BerthRecord> | undefined;

  /** `changed` is called when what the broker has is another. */
  constructor(socket: string | undefined, changed: () => void) {
    this.#socket = socket;
    this.#changed = changed;
  }

  /** Its berths by name; undefined: it does not answer. */
  get berths(): ReadonlyMap<string, BerthRecord> | undefined {
    return this.#berths;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof BerthError)) throw error;
      }
      this.#berths = undefined;
      this.#changed();
      await sleep(PAUSE_MS, signal);
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    using watching = await this.#connect(signal);
    using asking = await this.#connect(signal);
    const events = watching.watch({ signal });
    const present = await asking.berths({ signal });
    const berths = new Map(present.map((berth) => [berth.name, berth]));
    this.#berths = berths;
    this.#changed();
    for await (const { event, berth } of events) {
      if (event === "removed") berths.delete(berth.name);
      else berths.set(berth.name, berth);
      this.#changed();
    }
  }

  #connect(signal: AbortSignal): Promise<BrokerClient> {
    return connect({ ...(this.#socket !== undefined && { socket: this.#socket }), signal });
  }

  /** Its berths by name, asked now. */
  async present(signal: AbortSignal): Promise<ReadonlyMap<string, BerthRecord>> {
    using client = await this.#connect(signal);
    return new Map((await client.berths({ signal })).map((berth) => [berth.name, berth]));
  }

  /** Has the broker read its configuration. Resolves with why it does not take it; undefined: it has. */
  async reload(): Promise<string | undefined> {
    return await this.#ask("io.berthd.Broker.Reload", {});
  }

  /** Ends the berth's server, if it has one. Resolves with why not; undefined: it has ended. */
  async stop(berth: string): Promise<string | undefined> {
    return await this.#ask("io.berthd.Broker.Stop", { berth });
  }

  /** Has the berth's server ended once nobody plays, at the latest after `within` seconds. As {@link stop}. */
  async drain(berth: string, within: number | undefined): Promise<string | undefined> {
    return await this.#ask("io.berthd.Broker.Drain", { berth, ...(within !== undefined && { within }) });
  }

  async cancelDrain(berth: string): Promise<string | undefined> {
    return await this.#ask("io.berthd.Broker.CancelDrain", { berth });
  }

  async #ask(method: string, parameters: Readonly<Record<string, string | number>>): Promise<string | undefined> {
    const signal = AbortSignal.timeout(ASK_MS);
    using client = await this.#connect(signal);
    try {
      using _ = await client.call(method, parameters, { signal });
      return undefined;
    } catch (error) {
      if (error instanceof RefusedError) return error.message;
      throw error;
    }
  }

  /** `berth start`: by systemd where it runs. Resolves with why not; undefined: it runs. */
  start(berth: string, signal: AbortSignal): Promise<string | undefined> {
    const socket = this.#socket === undefined ? [] : ["--socket", this.#socket];
    const args = [BERTH, "start", ...socket, berth];
    return new Promise((resolve) => {
      execFile(process.execPath, args, { signal, timeout: START_MS }, (error, _out, err) => {
        if (error === null) resolve(undefined);
        else resolve(err.trim().replace(/^berth: /, "") || error.message);
      });
    });
  }
}

function berthProgram(): string {
  const manifest = createRequire(import.meta.url).resolve("berthd/package.json");
  const { bin }: { bin: { berth: string } } = JSON.parse(readFileSync(manifest, "utf8"));
  return join(dirname(manifest), bin.berth);
}
