/** What a broker tells of its berths, kept in order, for tests that wait for it. */
import { type EventRecord, readEvent } from "../../src/cli/berths/berth-records.ts";
import { VarlinkClient } from "../../src/varlink/client.ts";

export class Watcher implements AsyncDisposable {
  readonly events: EventRecord[] = [];
  readonly #client: VarlinkClient;
  readonly #done: Promise<void>;
  readonly #waiting = new Set<() => void>();
  #ended = false;

  private constructor(client: VarlinkClient) {
    this.#client = client;
    this.#done = this.#read().then(
      () => undefined,
      () => undefined,
    );
  }

  /** A watcher that has been told of so many berths that are there. */
  static async connect(socket: string, berths: number): Promise<Watcher> {
    const watcher = new Watcher(await VarlinkClient.connect(socket));
    await watcher.count("present", berths);
    return watcher;
  }

  /** The first event, past or to come, that satisfies the test; only those from number `from` on. */
  async until(test: (event: EventRecord) => boolean, from = 0): Promise<EventRecord> {
    for (;;) {
      const found = this.events.slice(from).find(test);
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`the watch ended after ${this.names()}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** The events of one kind, past or to come, until there are so many. */
  async count(event: string, number: number): Promise<EventRecord[]> {
    const found = (): EventRecord[] => this.events.filter((one) => one.event === event);
    await this.until(() => found().length >= number);
    return found();
  }

  /** What has happened, without what was there at first. */
  names(): string[] {
    return this.events.map(({ event }) => event).filter((event) => event !== "present");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
    await this.#done;
  }

  async #read(): Promise<void> {
    try {
      for await (const { parameters } of this.#client.stream("io.berthd.Broker.Watch")) {
        this.events.push(readEvent(parameters));
        this.#tell();
      }
    } finally {
      this.#ended = true;
      this.#tell();
    }
  }

  #tell(): void {
    for (const resolve of [...this.#waiting]) resolve();
    this.#waiting.clear();
  }
}
