/**
 * Watches the sockets of a vacant berth: itself, or by a doorman where the berth's file names a protocol. Without a
 * doorman any packet wakes the server.
 */
import type { Native } from "../../native.ts";
import type { Berth } from "../berths/berth/berth.ts";
import { ArrivalWatch } from "./arrival-watch.ts";
import type { Doormen, Watched } from "./doorman/doormen.ts";
import { identityOf } from "./doorman/identity.ts";

/** What a player reads whose connection cannot wait. */
const JOIN_AGAIN = "is starting; join again in a few seconds";

export class SleepWatch {
  readonly #berth: Berth;
  readonly #doormen: Doormen | undefined;
  readonly #arrivals: ArrivalWatch;
  readonly #onWake: (fd: number) => void;
  /** What a doorman does for us. */
  #watched: Watched | undefined;
  /** A packet is for the doorman, who is only then there. */
  #isQuiet = false;

  constructor(sys: Native, berth: Berth, doormen: Doormen | undefined, onWake: (fd: number) => void) {
    this.#berth = berth;
    this.#doormen = doormen;
    this.#onWake = onWake;
    this.#arrivals = new ArrivalWatch(sys, (fd) => this.#arrived(fd));
  }

  /** Watches these descriptors, which must stay open until {@link disarm}, instead of any before. */
  arm(fds: readonly number[]): void {
    this.disarm();
    const { asleep } = this.#berth.spec.server;
    if (asleep === undefined || this.#doormen === undefined) return this.#arrivals.arm(fds);
    const { name, sockets } = this.#berth;
    const [port] = sockets.flatMap(({ socket: { address } }) => (address.family === "unix" ? [] : [address.port]));
    const shown = asleep.as.name ?? name;
    this.#watched = this.#doormen.watch(identityOf(this.#berth), {
      fds,
      order: {
        asleep: asleep.protocol,
        wake: asleep.wake,
        networks: asleep.networks,
        discardAfter: asleep.discardAfter * 1000,
        refusal: `${shown} ${JOIN_AGAIN}`,
        kinds: sockets.map(({ socket }) => (socket.listen.kind === "datagram" ? "datagram" : "stream")),
        server: { map: "", slots: 0, ...(port !== undefined && { port }), ...asleep.as, name: shown },
      },
      onWake: (index) => {
        const fd = fds[index];
        if (fd !== undefined) this.#wake(fd);
      },
      onAlone: () => {
        this.#isQuiet = false;
        this.#arrivals.arm(fds);
      },
      onQuiet: () => {
        this.#isQuiet = true;
        this.#arrivals.arm(fds);
      },
      onAgain: () => this.#arrivals.disarm(),
    });
  }

  /** Whether it watches any. */
  get armed(): boolean {
    return this.#watched !== undefined || this.#arrivals.armed;
  }

  disarm(): void {
    this.#arrivals.disarm();
    this.#watched?.leave();
    this.#watched = undefined;
    this.#isQuiet = false;
  }

  /** Whether a datagram or connection waits for the server now. */
  waits(fds: readonly number[]): boolean {
    return this.#arrivals.waits(fds);
  }

  #arrived(fd: number): void {
    if (!this.#isQuiet) return this.#wake(fd);
    this.#isQuiet = false;
    this.#arrivals.disarm();
    this.#watched?.arrived();
  }

  #wake(fd: number): void {
    this.disarm();
    this.#onWake(fd);
  }
}
