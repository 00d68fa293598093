/**
 * Notices when a server shuts down a listener that the broker holds too, by shutdown(2), and has a new one opened at
 * its address at once. Else connects would be refused until the lease ends. The server keeps the old one as it is: its
 * accept(2) fails, as on plain Linux. One epoll watches for a hang-up alone, so connections wake nobody, and only the
 * first lease of a socket takes a call (hazard 98; test/broker/berths/shutdowns.test.ts).
 */
import { FdHandle } from "../../../fd.ts";
import type { Log } from "../../../log.ts";
import { type Native, type Poll, READABLE } from "../../../native.ts";
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLONESHOT, EPOLLRDHUP } from "../../../native-poll.ts";
import { pathOf } from "../../../net/address.ts";
import { SO_ACCEPTCONN, SOL_SOCKET } from "../../../net/socket-constants.ts";
import { hangsUp, socketOption } from "../../../net/socket-queries.ts";
import type { HeldSocket } from "../../sockets/held-socket.ts";
import type { Berth } from "../berth/berth.ts";
import type { BerthEvents } from "../berth/berth-events.ts";
import { tellRepairs } from "./tell-repairs.ts";

/** The least time between two looks at one socket: its server may shut it down again and again. */
export const SHUTDOWN_INTERVAL_MS = 1000;

const EVENTS = (EPOLLRDHUP | EPOLLONESHOT) >>> 0;
/** What one call gives. */
const MOST_READY = 64;

export interface ShutdownsOptions {
  readonly berths: { all(): readonly Berth[] };
  /** Paused while another broker is taking over: nothing is done then. */
  readonly repairs: { readonly isPaused: boolean; begin(berth: Berth): void };
  readonly sys: Native;
  readonly log: Log;
  readonly events: BerthEvents;
}

interface Watched {
  readonly socket: HeldSocket;
  readonly id: number;
  readonly onClosing: () => void;
  timer: NodeJS.Timeout | undefined;
  /** The log says that no new one can be opened. */
  isTold: boolean;
}

/** Where a socket is now: a reload may give it another name, or another berth. */
interface Place {
  readonly berth: Berth;
  readonly name: string;
}

export class Shutdowns {
  readonly #options: ShutdownsOptions;
  readonly #byId = new Map<number, Watched>();
  readonly #bySocket = new Map<HeldSocket, Watched>();
  /** When a socket was looked at. */
  readonly #looks = new WeakMap<HeldSocket, number>();
  #epoll: FdHandle | undefined;
  #poll: Poll | undefined;
  #lastId = 0;

  constructor(options: ShutdownsOptions) {
    this.#options = options;
  }

  /** Opens the epoll, so that no lease has to. If it cannot, the first lease tries again. */
  begin(): void {
    this.#open();
  }

  /** Watches a socket that somebody else has, until it is closed. If it cannot, a repair comes after the lease. */
  watch(socket: HeldSocket): void {
    if (this.#bySocket.has(socket) || !socket.open || !canBeRenewed(socket)) return;
    const epoll = this.#open();
    if (epoll === undefined) return;
    const id = ++this.#lastId;
    if (this.#options.sys.epollControl(epoll.fd, EPOLL_CTL_ADD, socket.fd, EVENTS, id) < 0) return;
    const watched: Watched = { socket, id, onClosing: () => this.#forget(watched), timer: undefined, isTold: false };
    socket.closing.add(watched.onClosing);
    this.#byId.set(id, watched);
    this.#bySocket.set(socket, watched);
  }

  close(): void {
    for (const watched of [...this.#byId.values()]) this.#forget(watched);
    this.#poll?.close();
    this.#epoll?.close();
    this.#poll = undefined;
    this.#epoll = undefined;
  }

  #open(): FdHandle | undefined {
    if (this.#epoll !== undefined) return this.#epoll;
    const { sys } = this.#options;
    const fd = sys.epollCreate(0);
    if (fd < 0) return undefined;
    const epoll = FdHandle.adopt(fd, sys);
    const poll = new sys.Poll(epoll.fd, () => this.#hear(), true);
    if (poll.start(READABLE) < 0) {
      poll.close();
      epoll.close();
      return undefined;
    }
    poll.unref();
    this.#poll = poll;
    this.#epoll = epoll;
    return epoll;
  }

  /** The epoll is ready as long as there are more. */
  #hear(): void {
    if (this.#epoll === undefined) return;
    const ids = new Uint32Array(MOST_READY);
    const count = this.#options.sys.epollReady(this.#epoll.fd, ids);
    for (const id of ids.subarray(0, Math.max(0, count))) {
      const watched = this.#byId.get(id);
      if (watched === undefined) continue;
      const since = performance.now() - (this.#looks.get(watched.socket) ?? Number.NEGATIVE_INFINITY);
      if (since < SHUTDOWN_INTERVAL_MS) this.#lookLater(watched, SHUTDOWN_INTERVAL_MS - since);
      else this.#look(watched);
    }
  }

  #lookLater(watched: Watched, milliseconds: number = SHUTDOWN_INTERVAL_MS): void {
    watched.timer = setTimeout(() => this.#look(watched), milliseconds).unref();
  }

  #look(watched: Watched): void {
    const { repairs } = this.#options;
    const { socket } = watched;
    const place = this.#placeOf(socket);
    if (place === undefined || !socket.open || repairs.isPaused) return this.#lookLater(watched);
    this.#looks.set(socket, performance.now());
    if (this.#listens(socket)) return this.#watchAgain(watched);
    const { berth } = place;
    // Also after the lease: before the repair does anything, it may have to look at all processes.
    if (berth.lease !== undefined || socket.due === "repair") return this.#renew(watched, place);
    // A process of an earlier server still has it. A repair tells the starter, which watches it for clients.
    socket.needsRepair();
    repairs.begin(berth);
    this.#lookLater(watched);
  }

  #placeOf(socket: HeldSocket): Place | undefined {
    for (const berth of this.#options.berths.all()) {
      const named = berth.sockets.find((one) => one.socket === socket);
      if (named !== undefined) return { berth, name: named.name };
    }
    return undefined;
  }

  #watchAgain({ socket, id }: Watched): void {
    this.#options.sys.epollControl(this.#epoll?.fd ?? -1, EPOLL_CTL_MOD, socket.fd, EVENTS, id);
  }

  /** The server keeps the old one. The new one is watched as all others are: kept-copies.ts. */
  #renew(watched: Watched, { berth, name }: Place): void {
    const { socket } = watched;
    try {
      if (!socket.renewListener()) return this.#lookLater(watched);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      // Its repair, or the server, has made it listen meanwhile.
      if (this.#listens(socket)) return this.#watchAgain(watched);
      if (!watched.isTold) this.#tellFailed(berth.name, name, error.message);
      watched.isTold = true;
      return this.#lookLater(watched);
    }
    tellRepairs(berth, name, ["was shut down by the server; it was opened again"], this.#options);
  }

  #tellFailed(berth: string, socket: string, why: string): void {
    const message = `berth ${berth}: socket ${socket} was shut down by the server, and connects are refused until the lease ends: ${why}`;
    this.#options.log("warning", message, { event: "shut-down", berth, socket });
  }

  /** A UNIX socket that was shut down is still called a listener, and a TCP one that has connected does not hang up. */
  #listens({ fd }: HeldSocket): boolean {
    const { sys } = this.#options;
    return !hangsUp(fd, sys) && socketOption(fd, SOL_SOCKET, SO_ACCEPTCONN, sys) === 1;
  }

  #forget(watched: Watched): void {
    const { socket, id, onClosing, timer } = watched;
    clearTimeout(timer);
    socket.closing.delete(onClosing);
    this.#byId.delete(id);
    this.#bySocket.delete(socket);
    // Somebody else may keep the socket open: the epoll would keep it too.
    if (this.#epoll !== undefined && socket.open)
      this.#options.sys.epollControl(this.#epoll.fd, EPOLL_CTL_DEL, socket.fd, 0, id);
  }
}

/** Listeners; but an abstract name can only be bound again when nobody has the old socket. */
function canBeRenewed({ listen: { kind, address } }: HeldSocket): boolean {
  return kind !== "datagram" && (address.family !== "unix" || pathOf(address) !== undefined);
}
