/** Ends a server that stopped sending WATCHDOG=1: first with SIGABRT, so that it dumps core, then with SIGKILL. */
import { constants } from "node:os";
import type { Log } from "../../../log.ts";

const { SIGABRT, SIGKILL } = constants.signals;

/** Time to dump core before SIGKILL. */
const ABORT_TIMEOUT_MS = 10_000;
/** The longest time that Node's timers take. */
const LONGEST_MS = 2 ** 31 - 1;

/** A lease, as far as its watchdog needs to know. */
interface Watched {
  readonly tenant: { readonly pid: number };
  signal(number: number): number;
}

export class TenantWatchdog {
  readonly #berth: string;
  readonly #lease: Watched;
  readonly #log: Log;
  /** Milliseconds; 0 means that it is not watched. */
  #time: number;
  #timer: NodeJS.Timeout | undefined;
  #isKilling = false;

  /** Starts watching. */
  constructor(berth: string, lease: Watched, time: number, log: Log) {
    this.#berth = berth;
    this.#lease = lease;
    this.#log = log;
    this.#time = time;
    this.alive();
  }

  /** The server reported that it is alive. */
  alive(): void {
    if (this.#isKilling) return;
    clearTimeout(this.#timer);
    if (this.#time === 0) return;
    const why = `has not sent WATCHDOG=1 for ${this.#time / 1000} s`;
    this.#timer = setTimeout(() => this.kill(why), Math.min(this.#time, LONGEST_MS));
  }

  /** The server changed its interval. */
  change(time: number): void {
    this.#time = time;
    this.alive();
  }

  /** Ends the server; `why` is for the log. */
  kill(why: string): void {
    if (this.#isKilling) return;
    this.#isKilling = true;
    clearTimeout(this.#timer);
    const { pid } = this.#lease.tenant;
    this.#log("error", `berth ${this.#berth}: pid ${pid} ${why}; sending SIGABRT`, {
      event: "watchdog",
      berth: this.#berth,
      pid,
    });
    this.#lease.signal(SIGABRT);
    this.#timer = setTimeout(() => this.#lease.signal(SIGKILL), ABORT_TIMEOUT_MS);
  }

  /** Stops the timer until {@link alive}, while nobody reads the server's messages. */
  pause(): void {
    if (!this.#isKilling) clearTimeout(this.#timer);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
