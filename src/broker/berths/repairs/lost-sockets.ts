/**
 * Sockets of vacant berths that nothing else sets right: those that could not be opened again, because another process
 * has the address, and those that a process of an earlier server shuts down where no epoll tells of it (shutdowns.ts).
 * A berth's sockets are tried together: ever later while one stays lost, else once a second at most
 * (test/broker/demand/shut-down.test.ts).
 */
import type { HeldSocket } from "../../sockets/held-socket.ts";
import type { Berth } from "../berth/berth.ts";
import type { Repairs } from "./repairs.ts";

/** The least time between two tries, and the most. */
const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 60_000;

interface Trying {
  /** Sockets that were shut down since the last try. */
  readonly hungUp: Set<HeldSocket>;
  /** When the last try was, by performance.now(), and how long after it the next one may be. */
  last: number;
  delay: number;
  timer: NodeJS.Timeout | undefined;
}

export class LostSockets {
  readonly #repairs: Pick<Repairs, "begin" | "isPaused">;
  readonly #byBerth = new Map<Berth, Trying>();

  constructor(repairs: Pick<Repairs, "begin" | "isPaused" | "observe">) {
    this.#repairs = repairs;
    repairs.observe((berth) => this.#observe(berth));
  }

  /** One of its sockets was shut down, and nobody has the berth. */
  hungUp(berth: Berth, fd: number): void {
    const found = berth.sockets.find(({ socket }) => socket.open && socket.fd === fd);
    if (found === undefined || found.socket.lost !== undefined) return;
    const trying = this.#byBerth.get(berth) ?? begun(Number.NEGATIVE_INFINITY);
    this.#byBerth.set(berth, trying);
    trying.hungUp.add(found.socket);
    this.#schedule(berth, trying);
  }

  /** Tries nothing any more. */
  close(): void {
    for (const { timer } of this.#byBerth.values()) clearTimeout(timer);
    this.#byBerth.clear();
  }

  /** Its sockets are to be set right, or were. */
  #observe(berth: Berth): void {
    if (berth.sockets.some(({ socket }) => socket.due !== undefined)) return;
    const isLost = berth.sockets.some(({ socket }) => socket.lost !== undefined);
    const known = this.#byBerth.get(berth);
    if (!isLost && known === undefined) return;
    const trying = known ?? begun(performance.now());
    this.#byBerth.set(berth, trying);
    if (!isLost) trying.delay = FIRST_DELAY_MS;
    this.#schedule(berth, trying);
  }

  #schedule(berth: Berth, trying: Trying): void {
    clearTimeout(trying.timer);
    const milliseconds = Math.max(0, trying.last + trying.delay - performance.now());
    trying.timer = setTimeout(() => this.#try(berth, trying), milliseconds).unref();
  }

  #try(berth: Berth, trying: Trying): void {
    const hungUp = new Set(trying.hungUp);
    trying.hungUp.clear();
    const sockets = berth.sockets.map(({ socket }) => socket);
    const due = sockets.filter((socket) => socket.open && (socket.lost !== undefined || hungUp.has(socket)));
    // After a lease all of them are set right.
    if (berth.lease !== undefined || due.length === 0) return void this.#byBerth.delete(berth);
    trying.last = performance.now();
    trying.delay = Math.min(2 * trying.delay, LONGEST_DELAY_MS);
    if (this.#repairs.isPaused) {
      for (const socket of hungUp) trying.hungUp.add(socket);
      return this.#schedule(berth, trying);
    }
    for (const socket of due) socket.needsRepair();
    this.#repairs.begin(berth);
  }
}

function begun(last: number): Trying {
  return { hungUp: new Set(), last, delay: FIRST_DELAY_MS, timer: undefined };
}
