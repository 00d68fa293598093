/** The sentence that `systemctl status` shows: told when it changes, and not more often than anybody would read it. */
import type { Notify } from "./notify.ts";

/** Changes within this many milliseconds are told as one. */
const PAUSE = 1000;

export class StatusLine implements Disposable {
  readonly #describe: () => string;
  readonly #notify: Notify;
  #told = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(describe: () => string, notify: Notify) {
    this.#describe = describe;
    this.#notify = notify;
  }

  /** The line for a message of the caller's own, which tells it. */
  take(): string {
    this.#told = this.#describe();
    return `STATUS=${this.#told}`;
  }

  /** Something may have changed: it is told in a moment, if it has. */
  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#describe() !== this.#told) this.#notify(this.take());
    }, PAUSE).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
