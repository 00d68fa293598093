/**
 * Sockets that are bound to an interface follow it when it goes and comes back, as those of a VPN or PPP do. It hears
 * of that by rtnetlink(7). What is to be done to a socket, the guard does.
 */
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import { InterfaceWatch } from "../sockets/interfaces/interface-watch.ts";
import type { Berth } from "./berth/berth.ts";

/** How often it looks where the kernel does not tell, and when again after another broker was taking over. */
const BLIND_DELAY_MS = 5000;
const PAUSE_MS = 1000;

export interface InterfaceFollowerOptions {
  readonly berths: { all(): readonly Berth[] };
  readonly repairs: { begin(berth: Berth): void };
  readonly sys: Native;
  readonly log: Log;
  /** While true, nothing is done: another broker is taking over. */
  readonly isPaused: () => boolean;
}

export class InterfaceFollower {
  readonly #options: InterfaceFollowerOptions;
  readonly #gone = new WeakSet<HeldSocket>();
  #network: InterfaceWatch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;

  constructor(options: InterfaceFollowerOptions) {
    this.#options = options;
  }

  /** The berths have changed. Looks at once: an interface may have come back while no broker was running. */
  update(): void {
    if (!this.#look()) return this.close();
    this.#network ??= InterfaceWatch.open(this.#options.sys, () => this.#hear());
    if (this.#network === undefined) this.#lookLater(BLIND_DELAY_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    if (this.#soon !== undefined) clearImmediate(this.#soon);
    this.#soon = undefined;
    this.#network?.[Symbol.dispose]();
    this.#network = undefined;
  }

  /** One turn of the event loop later: an interface brings several messages. */
  #hear(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      this.#look();
    });
  }

  /** Whether any socket is bound to an interface. */
  #look(): boolean {
    const { berths, repairs, isPaused } = this.#options;
    clearTimeout(this.#timer);
    if (isPaused()) {
      this.#lookLater(PAUSE_MS);
      return true;
    }
    let isNeeded = false;
    for (const berth of berths.all()) {
      let isDue = false;
      for (const { name, socket } of berth.sockets) {
        const found = socket.open ? this.#follow(berth, name, socket) : "none";
        isDue ||= found === "due";
        isNeeded ||= found !== "none";
      }
      if (isDue) repairs.begin(berth);
    }
    return isNeeded;
  }

  #lookLater(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.update(), milliseconds).unref();
  }

  #follow(berth: Berth, name: string, socket: HeldSocket): ReturnType<HeldSocket["follow"]> {
    const found = socket.follow(berth.lease === undefined);
    if (found === "gone") this.#tellGone(berth, name, socket);
    else this.#gone.delete(socket);
    return found;
  }

  #tellGone({ name: berth }: Berth, name: string, socket: HeldSocket): void {
    if (this.#gone.has(socket)) return;
    this.#gone.add(socket);
    const message = `berth ${berth}: the interface of socket ${name} is gone; the socket is bound to it again when it is back`;
    this.#options.log("notice", message, { event: "interface-gone", berth, socket: name });
  }
}
