/**
 * Log lines about connections that any local user can cause. The first few are logged. Those that follow within some
 * seconds are counted and summed up in one line, so that nobody can fill the log (test/broker/session/rubbish.test.ts).
 */
import type { Log } from "../../../log.ts";

/** Lines that are logged within {@link INTERVAL_MS} milliseconds of the first. */
const BURST = 5;
const INTERVAL_MS = 10_000;

export class Complaints {
  readonly #log: Log;
  #logged = 0;
  #counted = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Logs or counts one line. */
  readonly log: Log = (...line) => {
    this.#timer ??= setTimeout(() => this.#sumUp(), INTERVAL_MS).unref();
    if (this.#logged >= BURST) this.#counted++;
    else {
      this.#logged++;
      this.#log(...line);
    }
  };

  /** Logs what was counted until now. */
  close(): void {
    clearTimeout(this.#timer);
    this.#sumUp();
  }

  #sumUp(): void {
    this.#timer = undefined;
    this.#logged = 0;
    if (this.#counted === 0) return;
    const connections = this.#counted === 1 ? "1 more connection was" : `${this.#counted} more connections were`;
    this.#counted = 0;
    this.#log("notice", `${connections} refused or dropped within ${INTERVAL_MS / 1000} s`, {
      event: "dropped-more",
    });
  }
}
