/**
 * Watches the sockets of a vacant berth until a datagram or a connection arrives. It reads neither: both wait in the
 * kernel for the server. It reports once, because what arrived stays until the server reads it
 * (test/broker/demand/on-demand.test.ts). A socket that was shut down is ready for ever, and nobody has come for it: it
 * is watched no longer, and the others are (test/broker/demand/shut-down.test.ts).
 */
import { type Poll, READABLE } from "../../native.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import { clearPendingError, hangsUp } from "../../net/socket-queries.ts";
import type { ForeignCalls } from "../access/foreign-calls.ts";

/** Milliseconds until a socket that cannot be watched is checked again. */
const RETRY_INTERVAL_MS = 1000;

export class ArrivalWatch {
  readonly #sys: ForeignCalls;
  readonly #onWake: (fd: number) => void;
  readonly #onHangUp: (fd: number) => void;
  readonly #polls: Poll[] = [];
  #retry: NodeJS.Timeout | undefined;

  /** `onWake` gets the descriptor at which something has arrived, `onHangUp` one that was shut down. */
  constructor(sys: ForeignCalls, onWake: (fd: number) => void, onHangUp: (fd: number) => void = () => undefined) {
    this.#sys = sys;
    this.#onWake = onWake;
    this.#onHangUp = onHangUp;
  }

  /** Watches these descriptors, which must stay open until {@link disarm}, instead of any before. */
  arm(fds: readonly number[]): void {
    this.disarm();
    for (const fd of fds) {
      const onReady = (status: number): void => {
        if (status !== 0) this.#look(fds);
        else if (hangsUp(fd, this.#sys)) this.#hungUp(fd, poll);
        else this.#wake(fd);
      };
      const poll = new this.#sys.Poll(fd, onReady, true);
      this.#polls.push(poll);
      if (poll.start(READABLE) < 0) return this.#look(fds);
    }
  }

  /** Whether it watches any. */
  get armed(): boolean {
    return this.#polls.length > 0 || this.#retry !== undefined;
  }

  disarm(): void {
    for (const poll of this.#polls.splice(0)) poll.close();
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  /** Whether a datagram or connection waits for the server now. */
  waits(fds: readonly number[]): boolean {
    return this.#first(fds) !== undefined;
  }

  /** The first of them at which something waits. */
  #first(fds: readonly number[]): number | undefined {
    const sys = this.#sys;
    return fds.find((fd) => (Math.max(0, sys.pollNow(fd, POLLIN)) & POLLIN) !== 0 && !hangsUp(fd, sys));
  }

  /**
   * A pending error, for example of a datagram that an earlier server sent to a closed port, hides from poll(2) what is
   * to be read. Asking for the error clears it. An error in the error queue stays (IP_RECVERR, ip(7)), so check from
   * time to time.
   */
  #look(fds: readonly number[]): void {
    this.disarm();
    for (const fd of fds) clearPendingError(fd, this.#sys);
    const first = this.#first(fds);
    if (first !== undefined) this.#wake(first);
    else this.#retry = setTimeout(() => this.arm(fds), RETRY_INTERVAL_MS);
  }

  #hungUp(fd: number, poll: Poll): void {
    poll.close();
    this.#onHangUp(fd);
  }

  #wake(fd: number): void {
    this.disarm();
    this.#onWake(fd);
  }
}
