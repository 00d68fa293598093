/**
 * The connections to the broker: one hears what happens to the berths, one speaks for their servers. A broker that goes
 * away is tried again; servers keep what they have said meanwhile.
 */
import { BerthError, type BerthRecord, type BrokerClient, connect, RefusedError, type Speech } from "berthd";
import { Refusal } from "./refusal.ts";

export interface LinkEvents {
  /** All berths that this user sees. Called after each new connection. */
  all(berths: readonly BerthRecord[]): void;
  /** The berth as it is now. */
  one(berth: BerthRecord): void;
  removed(name: string): void;
  lost(why: string): void;
}

const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 5_000;
const ANSWER_MS = 5_000;

export class BrokerLink {
  readonly #socket: string | undefined;
  readonly #events: LinkEvents;
  readonly #stop = new AbortController();
  #speaking: Promise<BrokerClient> | undefined;
  #running: Promise<void> | undefined;

  constructor(socket: string | undefined, events: LinkEvents) {
    this.#socket = socket;
    this.#events = events;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Throws a {@link Refusal} that says it to the server. */
  async speak(berth: string, lease: string, speech: Speech): Promise<void> {
    try {
      const client = await this.#speaker();
      await client.speak(berth, lease, speech, { signal: this.#deadline() });
    } catch (error) {
      throw told(error);
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    (await this.#speaking?.catch(() => undefined))?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let why = "it has closed the connection";
      try {
        using client = await this.#connect();
        const events = client.watch({ signal });
        this.#events.all(await this.#list());
        pause = FIRST_PAUSE_MS;
        for await (const { event, berth } of events)
          if (event === "removed") this.#events.removed(berth.name);
          else this.#events.one(berth);
      } catch (error) {
        why = error instanceof Error ? error.message : String(error);
      }
      if (signal.aborted) return;
      this.#events.lost(why);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve();
        });
      });
      pause = Math.min(LAST_PAUSE_MS, pause * 2);
    }
  }

  async #list(): Promise<readonly BerthRecord[]> {
    return await (await this.#speaker()).berths({ signal: this.#deadline() });
  }

  async #speaker(): Promise<BrokerClient> {
    const known = await this.#speaking?.catch(() => undefined);
    if (known !== undefined && !known.closed) return known;
    this.#speaking = this.#connect();
    return await this.#speaking;
  }

  #connect(): Promise<BrokerClient> {
    return connect({ ...(this.#socket !== undefined && { socket: this.#socket }), signal: this.#deadline() });
  }

  #deadline(): AbortSignal {
    return AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ANSWER_MS)]);
  }
}

function told(error: unknown): Refusal {
  if (error instanceof RefusedError) {
    if (error.error === "org.varlink.service.PermissionDenied")
      return new Refusal("FAILED_PRECONDITION", `berth-sdk may not speak for this server: ${error.message}`);
    if (error.error === "io.berthd.Broker.LimitReached") return new Refusal("RESOURCE_EXHAUSTED", error.message);
    return new Refusal("UNAVAILABLE", error.message);
  }
  if (error instanceof BerthError || (error instanceof Error && /^(?:Abort|Timeout)Error$/.test(error.name)))
    return new Refusal("UNAVAILABLE", `the broker does not answer: ${error.message}`);
  throw error;
}
