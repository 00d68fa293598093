/**
 * Watches the sockets of a vacant berth: itself, or by a doorman where the berth's file names a protocol. Without a
 * doorman any packet wakes the server.
 */
import { MAX_FDS, type Native } from "../../native.ts";
import { hangsUp } from "../../net/socket-queries.ts";
import type { Berth } from "../berths/berth/berth.ts";
import { ArrivalWatch } from "./arrival-watch.ts";
import type { Doormen, Watched } from "./doorman/doormen.ts";
import { identityOf } from "./doorman/identity.ts";
import { shownServer } from "./doorman/shown-server.ts";

/** What a player reads whose connection cannot wait. */
const JOIN_AGAIN = "is starting; join again in a few seconds";

/** How long a doorman may hold logins after it has woken a server, whatever it sees. */
const LONGEST_HOLD_MS = 600_000;

export interface SleepEvents {
  /** Somebody wants to play, at this descriptor. */
  readonly onWake: (fd: number) => void;
  /** It was shut down: nobody has come. */
  readonly onHangUp: (fd: number) => void;
}

export class SleepWatch {
  readonly #sys: Native;
  readonly #berth: Berth;
  readonly #doormen: Doormen | undefined;
  readonly #arrivals: ArrivalWatch;
  readonly #events: SleepEvents;
  /** What a doorman does for us. */
  #watched: Watched | undefined;
  /** The same, where it holds logins while the server starts. */
  #held: Watched | undefined;
  #heldTooLong: NodeJS.Timeout | undefined;
  /** A packet is for the doorman, who is only then there. */
  #isQuiet = false;

  constructor(sys: Native, berth: Berth, doormen: Doormen | undefined, events: SleepEvents) {
    this.#sys = sys;
    this.#berth = berth;
    this.#doormen = doormen;
    this.#events = events;
    this.#arrivals = new ArrivalWatch(sys, (fd) => this.#arrived(fd), events.onHangUp);
  }

  /** Watches these descriptors, which must stay open until {@link end}, instead of any before. */
  arm(fds: readonly number[]): void {
    this.end();
    const { asleep } = this.#berth.spec.server;
    if (asleep === undefined || this.#doormen === undefined || fds.length === 0) return this.#arrivals.arm(fds);
    const server = shownServer(this.#berth);
    const watched = this.#berth.sockets.filter(({ socket }) => fds.includes(socket.fd));
    const kinds = watched.map(({ socket }) => (socket.listen.kind === "datagram" ? "datagram" : "stream"));
    const hold = mayHold(kinds) ? asleep.holdLogin : undefined;
    this.#watched = this.#doormen.watch(identityOf(this.#berth), {
      fds,
      order: {
        asleep: asleep.protocol,
        wake: asleep.wake,
        networks: asleep.networks,
        discardAfter: asleep.discardAfter * 1000,
        refusal: `${server.name} ${JOIN_AGAIN}`,
        kinds,
        ...(hold !== undefined && { hold: hold * 1000 }),
        server,
      },
      onWake: (index, isHeld) => {
        const fd = fds[index];
        if (fd === undefined) return;
        if (isHeld) {
          [this.#held, this.#watched] = [this.#watched, undefined];
          this.#heldTooLong = setTimeout(() => this.end(), LONGEST_HOLD_MS).unref();
        }
        this.#wake(fd);
      },
      onServed: () => this.end(),
      onAlone: () => this.#watch(fds, false),
      onQuiet: () => this.#watch(fds, true),
      onAgain: () => this.#arrivals.disarm(),
    });
  }

  /** Whether it watches any. */
  get armed(): boolean {
    return this.#watched !== undefined || this.#arrivals.armed;
  }

  /** Watches no longer. Logins that are held stay so until the server accepts. */
  disarm(): void {
    this.#arrivals.disarm();
    this.#watched?.leave();
    this.#watched = undefined;
    this.#isQuiet = false;
  }

  /** As {@link disarm}, and holds no login: the sockets may be closed. */
  end(): void {
    this.disarm();
    clearTimeout(this.#heldTooLong);
    this.#held?.leave();
    this.#held = undefined;
  }

  /** Whether a datagram or connection waits for the server now. */
  waits(fds: readonly number[]): boolean {
    return this.#arrivals.waits(fds);
  }

  /** There is no doorman. A login that it has held is the server's. */
  #watch(fds: readonly number[], isQuiet: boolean): void {
    if (this.#held !== undefined) return this.end();
    this.#isQuiet = isQuiet;
    this.#arrivals.arm(fds);
  }

  #arrived(fd: number): void {
    if (!this.#isQuiet) return this.#wake(fd);
    this.#isQuiet = false;
    this.#arrivals.disarm();
    this.#watched?.arrived();
  }

  /** A doorman cannot tell whether somebody has come to a socket that was shut down. */
  #wake(fd: number): void {
    this.disarm();
    if (hangsUp(fd, this.#sys)) this.#events.onHangUp(fd);
    else this.#events.onWake(fd);
  }
}

/** One message has all descriptors, two more for each stream, so not of very many sockets. */
function mayHold(kinds: readonly ("datagram" | "stream")[]): boolean {
  const streams = kinds.filter((kind) => kind === "stream").length;
  return streams > 0 && kinds.length + 2 * streams <= MAX_FDS;
}
