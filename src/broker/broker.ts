/**
 * A running broker: it answers on the control socket until it is closed. How it starts is start.ts, what it is made of
 * parts.ts. The rooms, from the bottom up: access and record, sockets, berths, bind with demand and notify, session,
 * restart.
 */
import { BerthError } from "../errors.ts";
import type { BerthView } from "./berths/berth.ts";
import type { BrokerOptions } from "./broker-options.ts";
import { applyConfiguration, readConfiguration } from "./configuration.ts";
import { type BrokerParts, closeParts } from "./parts.ts";
import { startBroker } from "./start.ts";

/** A running broker. Async-disposable: the end of it closes every socket it holds. */
export class Broker implements AsyncDisposable {
  readonly #parts: BrokerParts;

  private constructor(parts: BrokerParts) {
    this.#parts = parts;
  }

  /**
   * Starts a broker. Throws CONFIG_INVALID with every problem of the configuration in its message, BROKER_RUNNING when
   * another serves on the socket or the state folder, SYSTEM_ERROR when the machine refuses. Whatever it throws, a
   * broker that was to be replaced goes on as before.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    return new Broker(await startBroker(options));
  }

  /** The berths as they are now. */
  get berths(): BerthView[] {
    return this.#parts.berths.list().map((berth) => berth.view());
  }

  /** Where it answers, for people. */
  get where(): string {
    return this.#parts.control.where;
  }

  /**
   * Whether it does its work: it looks at connections that come. Connections that wait for free descriptors count as
   * seen.
   */
  get healthy(): boolean {
    return this.#parts.listener.healthy;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#parts.listener.sessions.size;
  }

  /**
   * Reads the configuration again. Sockets that stay the same stay open, with everything that queues on them. Throws
   * CONFIG_INVALID with every problem, and BROKER_RUNNING while another broker takes over; then nothing has changed.
   * Does nothing once the broker is closed or replaced.
   */
  reload(): void {
    if (this.#parts.listener.isClosed) return;
    if (this.#parts.takeover.isUnderWay)
      throw new BerthError("BROKER_RUNNING", "another broker is taking over, and reads the configuration itself");
    applyConfiguration(this.#parts, readConfiguration(this.#parts));
  }

  /** Closes the control socket, every connection and every held socket. Tenants keep what they have. Idempotent. */
  async close(): Promise<void> {
    const { takeover, snapshot } = this.#parts;
    // A broker that was given everything goes on alone: it sees that this one is gone, and needs no answer.
    const isGiven = takeover.hasGiven;
    takeover.close();
    if (!isGiven) snapshot.abandon();
    closeParts(this.#parts, { isGiven });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
