/** Brokers in processes of their own that follow one another on one control socket, with what is in one folder. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BrokerProcess, type ConfigFiles, isReady, launchBroker, TestFolder } from "./broker.ts";

export class Dynasty implements AsyncDisposable {
  readonly folder: TestFolder;
  readonly #brokers: BrokerProcess[] = [];

  constructor(folder: TestFolder = new TestFolder()) {
    this.folder = folder;
    mkdirSync(join(folder.path, "config"));
  }

  config(files: ConfigFiles): void {
    for (const [name, text] of Object.entries(files)) this.folder.write({ [`config/${name}`]: text });
  }

  /** The one that came last. */
  get broker(): BrokerProcess {
    const broker = this.#brokers.at(-1);
    if (broker === undefined) throw new Error("there was none");
    return broker;
  }

  get socket(): string {
    return this.broker.socket;
  }

  launch(extra: readonly string[] = [], wrap: readonly string[] = []): BrokerProcess {
    const broker = launchBroker(this.folder, extra, wrap);
    this.#brokers.push(broker);
    return broker;
  }

  async start(extra: readonly string[] = [], wrap: readonly string[] = []): Promise<BrokerProcess> {
    const broker = this.launch(extra, wrap);
    await broker.logged(isReady);
    return broker;
  }

  /** Has one take over from the last, which ends. */
  async replace(): Promise<BrokerProcess> {
    const old = this.broker;
    const heir = await this.start(["--replace", "must"]);
    await old.logged(({ event }) => event === "replaced");
    await old.exited;
    return heir;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const broker of this.#brokers) await broker[Symbol.asyncDispose]();
    this.folder[Symbol.dispose]();
  }
}
