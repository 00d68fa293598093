/** Serves the SDK of every berth that asks for one and that this user may speak for. */
import { hostname } from "node:os";
import type { BerthRecord } from "berthd";
import { BrokerLink } from "./broker-link.ts";
import { Desk, type DeskOptions } from "./desk.ts";
import { LogLimit } from "./log-limit.ts";
import { Peers } from "./serve/peer.ts";

export interface SdkOptions {
  /** The broker's socket; undefined: the usual places. */
  readonly socket?: string | undefined;
  /** What players type for a socket that listens on every address. Default: the name of this host. */
  readonly address?: string | undefined;
  readonly log: (line: string) => void;
}

/** How long a connection waits for a broker that is away. */
const PATIENCE_MS = 3_000;

export class Sdk {
  readonly #desks = new Map<string, Desk>();
  readonly #link: BrokerLink;
  readonly #desk: DeskOptions;
  readonly #log: LogLimit;
  #isConnected = false;
  readonly #connected = new Set<() => void>();

  constructor({ socket, address = hostname(), log }: SdkOptions) {
    this.#log = new LogLimit(log);
    this.#link = new BrokerLink(socket, {
      all: (berths) => this.#all(berths),
      one: (berth) => this.#one(berth),
      removed: (name) => this.#drop(name),
      lost: (why) => {
        this.#isConnected = false;
        this.#log.write(`the broker does not answer: ${why}`);
      },
    });
    this.#desk = {
      peers: new Peers(),
      address,
      speak: (berth, lease, speech) => this.#link.speak(berth, lease, speech),
      settled: () => this.#settled(),
      log: (message) => this.#log.write(message),
    };
  }

  start(): void {
    this.#link.start();
  }

  async close(): Promise<void> {
    await this.#link.close();
    await Promise.all(Array.from(this.#desks.values(), (desk) => desk.close()));
    this.#log.close();
  }

  #all(berths: readonly BerthRecord[]): void {
    const names = new Set(berths.map(({ name }) => name));
    for (const name of [...this.#desks.keys()]) if (!names.has(name)) this.#drop(name);
    for (const berth of berths) this.#one(berth);
    this.#isConnected = true;
    for (const tell of this.#connected) tell();
    this.#connected.clear();
  }

  #one(berth: BerthRecord): void {
    const known = this.#desks.get(berth.name);
    if (known === undefined) {
      if (berth.sdk) this.#desks.set(berth.name, new Desk(berth, this.#desk));
      return;
    }
    known.update(berth);
    if (known.isIdle) this.#drop(berth.name);
  }

  #drop(name: string): void {
    void this.#desks.get(name)?.close();
    this.#desks.delete(name);
  }

  #settled(): Promise<void> {
    if (this.#isConnected) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(done, PATIENCE_MS);
      const forget = (): boolean => this.#connected.delete(done);
      function done(): void {
        clearTimeout(timer);
        forget();
        resolve();
      }
      this.#connected.add(done);
    });
  }
}
