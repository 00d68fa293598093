/**
 * The connection to the broker: it watches, and measures when asked. A broker that goes away is tried again, a little
 * later each time; the process goes on meanwhile.
 */
import {
  type BerthEventRecord,
  type BrokerClient,
  connect,
  type Metric,
  type PlayersReport,
  RefusedError,
} from "berthd";
import { sleep } from "../sleep.ts";

export interface LinkEvents {
  /** What happens, in order. After each new connection it begins with `present` for every berth. */
  event(record: BerthEventRecord): void;
  connected(): void;
  /** The broker does not answer; it is tried again at `nextTry` (milliseconds since 1970). */
  lost(why: string, nextTry: number): void;
}

const FIRST_PAUSE_MS = 250;
const LAST_PAUSE_MS = 15_000;
const CONNECT_MS = 5_000;
/** How long the broker may take for its measurements, and for a report. */
const MEASURE_MS = 10_000;

export class BrokerLink {
  readonly #socket: string | undefined;
  readonly #events: LinkEvents;
  readonly #stop = new AbortController();
  #measuring: BrokerClient | undefined;
  #pause = FIRST_PAUSE_MS;
  #running: Promise<void> | undefined;

  constructor(socket: string | undefined, events: LinkEvents) {
    this.#socket = socket;
    this.#events = events;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let why = "the broker has closed the connection";
      try {
        await this.#watch();
      } catch (error) {
        why = error instanceof Error ? error.message : String(error);
      }
      if (signal.aborted) return;
      this.#measuring?.close();
      this.#measuring = undefined;
      this.#events.lost(why, Date.now() + this.#pause);
      await sleep(this.#pause, signal);
      this.#pause = Math.min(LAST_PAUSE_MS, this.#pause * 2);
    }
  }

  async #watch(): Promise<void> {
    const client = await this.#connect();
    using _ = client;
    this.#events.connected();
    for await (const record of client.watch({ signal: this.#stop.signal })) {
      this.#pause = FIRST_PAUSE_MS;
      this.#events.event(record);
    }
  }

  #connect(): Promise<BrokerClient> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(CONNECT_MS)]);
    return connect({ ...(this.#socket !== undefined && { socket: this.#socket }), signal });
  }

  /** The connection for single questions. */
  async #asking(): Promise<BrokerClient> {
    if (this.#measuring === undefined || this.#measuring.closed) this.#measuring = await this.#connect();
    return this.#measuring;
  }

  /** Reports who plays on a berth. Throws where this user is no observer of it. */
  async report(berth: string, players: PlayersReport): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(MEASURE_MS)]);
    await (await this.#asking()).report(berth, players, { signal });
  }

  /** The measurements as they are now. Throws what the library throws. */
  async measure(): Promise<Metric[]> {
    const client = await this.#asking();
    const metrics: Metric[] = [];
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(MEASURE_MS)]);
    try {
      for await (const metric of client.metrics({ signal })) metrics.push(metric);
    } catch (error) {
      // This user may see no berth.
      if (!(error instanceof RefusedError && error.error === "io.systemd.Metrics.NoSuchMetric")) throw error;
    }
    return metrics;
  }

  /** The broker's version, and the names of all berths. */
  async facts(): Promise<{ readonly version: string | null; readonly names: readonly string[] }> {
    using client = await this.#connect();
    using info = await client.call("org.varlink.service.GetInfo");
    const version = info.parameters["version"];
    const berths = await client.berths();
    return { version: typeof version === "string" ? version : null, names: berths.map(({ name }) => name) };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#measuring?.close();
    await this.#running;
  }
}
