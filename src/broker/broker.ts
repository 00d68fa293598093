/**
 * A running broker, which serves on the control socket until it is closed. start.ts starts it; parts.ts lists its
 * parts. The rooms, from the bottom up: access and record, sockets, berths, bind with demand and notify, session,
 * restart.
 */
import type { BerthView } from "./berths/berth/berth-view.ts";
import type { BrokerOptions } from "./broker-options.ts";
import { type BrokerParts, closeParts } from "./parts.ts";
import { reloadInSlices, reloadParts } from "./reloader.ts";
import { startBroker } from "./start.ts";

/** A running broker. Disposing of it closes every socket that it holds. */
export class Broker implements AsyncDisposable {
  readonly #parts: BrokerParts;

  private constructor(parts: BrokerParts) {
    this.#parts = parts;
  }

  /**
   * Starts a broker. A berth with a problem is there with its problem, and the others are served; with `strict` it
   * throws CONFIG_INVALID with every problem. Throws BROKER_RUNNING when another broker uses the socket or the state
   * folder, and SYSTEM_ERROR when the system refuses. After a failure a broker that was to be replaced keeps serving.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    return new Broker(await startBroker(options));
  }

  /** The berths now. */
  get berths(): BerthView[] {
    return this.#parts.berths.list().map((berth) => berth.view());
  }

  /** How many berths there are, how many of them are taken, and how many have problems. */
  get counts(): { readonly berths: number; readonly taken: number; readonly troubled: number } {
    const all = this.#parts.berths.list();
    const taken = all.filter(({ state }) => state !== "vacant").length;
    return { berths: all.length, taken, troubled: all.filter(({ problems }) => problems.length > 0).length };
  }

  /** The address of the control socket, for people. */
  get where(): string {
    return this.#parts.control.where;
  }

  /**
   * Whether it works: it accepts connections in time. A connection that waits for free descriptors counts as accepted.
   */
  get healthy(): boolean {
    return this.#parts.listener.healthy;
  }

  /** The number of open connections. */
  get connections(): number {
    return this.#parts.listener.sessions.size;
  }

  /**
   * Reads the configuration again. Unchanged sockets stay open with everything that is queued on them. Throws
   * CONFIG_INVALID with every problem that is not there yet, and BROKER_RUNNING while another broker takes over; then
   * nothing has changed. Does nothing once the broker is closed or replaced.
   */
  reload(): void {
    if (!this.#parts.listener.isClosed) reloadParts(this.#parts);
  }

  /** As {@link reload}, but calls are answered while the files are read. */
  async reloadInSlices(): Promise<void> {
    if (!this.#parts.listener.isClosed) await reloadInSlices(this.#parts);
  }

  /** Whether the configuration on disk is not the one in force, for the last reload was refused. */
  get outdated(): boolean {
    return this.#parts.reloader.isRefused;
  }

  /** Closes the control socket, all connections and all held sockets. Tenants keep their descriptors. Idempotent. */
  async close(): Promise<void> {
    const { takeover, snapshot } = this.#parts;
    // A successor that has everything goes on alone: it sees this one exit and needs no answer.
    const isGiven = takeover.hasGiven;
    takeover.close();
    if (!isGiven) snapshot.abandon();
    closeParts(this.#parts, { isGiven });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
