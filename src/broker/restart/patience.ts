/**
 * How long a start waits for processes that may have sockets of an earlier broker, all together. To look into one the
 * kernel waits while it executes a program, and it can make that last for ever (exec_update_lock, fs/exec.c).
 */

/** For all of them, in milliseconds. */
const TOTAL_MS = 2000;
/** For one call. It takes microseconds. */
const CALL_MS = 500;
/** When all of the time is spent, the others still get so much. */
const LEAST_MS = 10;

export class Patience {
  #left = TOTAL_MS;

  /** Makes a call that takes at most so many milliseconds. */
  spend<T>(call: (milliseconds: number) => T): T {
    const since = performance.now();
    try {
      return call(Math.max(LEAST_MS, Math.min(CALL_MS, Math.ceil(this.#left))));
    } finally {
      const spent = performance.now() - since;
      if (spent > LEAST_MS) this.#left -= spent;
    }
  }
}
