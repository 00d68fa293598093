/** The SDK of one berth: its two ports, and the server that has the berth. */
import type { BerthRecord, Speech } from "berthd";
import { Gate, type GateOptions } from "./serve/gate.ts";
import { serveGrpc } from "./serve/grpc.ts";
import type { Peers } from "./serve/peer.ts";
import { RestServer } from "./serve/rest.ts";
import { Session } from "./session.ts";

export interface DeskOptions {
  readonly peers: Peers;
  readonly address: string;
  readonly speak: (berth: string, lease: string, speech: Speech) => Promise<void>;
  /** Resolves when what the broker knows is known here, or after a while. */
  readonly settled: () => Promise<void>;
  readonly log: (message: string) => void;
}

const RETRY_MS = 5_000;

interface Open {
  readonly ports: string;
  readonly gates: readonly Gate[];
  readonly rest: RestServer;
}

export class Desk {
  readonly #options: DeskOptions;
  #berth: BerthRecord;
  #session: Session | undefined;
  #open: Open | undefined;
  #opening: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(berth: BerthRecord, options: DeskOptions) {
    this.#berth = berth;
    this.#options = options;
    this.update(berth);
  }

  update(berth: BerthRecord): void {
    this.#berth = berth;
    const { lease } = berth;
    if (this.#session !== undefined && this.#session.lease.id !== lease?.id) this.#endSession();
    if (lease && this.#session === undefined)
      this.#session = new Session(berth, {
        lease,
        address: this.#options.address,
        speak: (speech) => this.#options.speak(berth.name, lease.id, speech),
        log: (message) => this.#log(message),
      });
    this.#session?.update(berth);
    this.#settle();
  }

  /** Whether nobody needs it: its configuration asks for no SDK, and no server uses it. */
  get isIdle(): boolean {
    return !this.#berth.sdk && this.#session === undefined;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#endSession();
    await this.#opening;
    this.#closePorts();
  }

  #endSession(): void {
    this.#session?.end();
    this.#session = undefined;
  }

  /** Opens the ports of the configuration. A server that runs keeps those that it knows. */
  #settle(): void {
    const { sdk } = this.#berth;
    if (this.#isClosed || !sdk || (this.#open !== undefined && this.#session !== undefined)) return;
    if (this.#open?.ports === `${sdk.grpc} ${sdk.http}`) return;
    clearTimeout(this.#retry);
    this.#opening = this.#opening.then(() => this.#openPorts());
  }

  async #openPorts(): Promise<void> {
    const { sdk } = this.#berth;
    const ports = `${sdk?.grpc} ${sdk?.http}`;
    if (this.#isClosed || !sdk || this.#open?.ports === ports) return;
    this.#closePorts();
    const rest = new RestServer();
    const gates: Gate[] = [];
    try {
      gates.push(await Gate.open({ ...this.#gate(), port: sdk.grpc, serve: serveGrpc }));
      gates.push(
        await Gate.open({ ...this.#gate(), port: sdk.http, serve: (socket, session) => rest.serve(socket, session) }),
      );
      this.#open = { ports, gates, rest };
      this.#log(`serves gRPC on port ${sdk.grpc} and REST on port ${sdk.http}`);
      this.#settle(); // it may have changed meanwhile
    } catch (error) {
      for (const gate of gates) gate.close();
      rest.close();
      this.#log(`${error instanceof Error ? error.message : error}; it is tried again in ${RETRY_MS / 1000} s`);
      if (!this.#isClosed) this.#retry = setTimeout(() => this.#settle(), RETRY_MS);
    }
  }

  #gate(): Pick<GateOptions, "peers" | "tenant" | "log"> {
    return {
      peers: this.#options.peers,
      tenant: async () => {
        await this.#options.settled();
        const session = this.#session;
        return session === undefined ? undefined : { session, uid: this.#berth.sdk?.uid ?? session.lease.uid };
      },
      log: (message) => this.#log(message),
    };
  }

  #closePorts(): void {
    for (const gate of this.#open?.gates ?? []) gate.close();
    this.#open?.rest.close();
    this.#open = undefined;
  }

  #log(message: string): void {
    this.#options.log(`berth ${this.#berth.name}: ${message}`);
  }
}
