/** The sentence that `systemctl status` shows. It is sent when it changes, at most once a second. */
import type { Notify } from "./notify.ts";

/** Changes within this time are sent as one. */
const MERGE_CHANGES_MS = 1000;

export class StatusLine implements Disposable {
  readonly #describe: () => string;
  readonly #notify: Notify;
  #told = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(describe: () => string, notify: Notify) {
    this.#describe = describe;
    this.#notify = notify;
  }

  /** Returns the STATUS= line. The caller sends it in its own message. */
  take(): string {
    this.#told = this.#describe();
    return `STATUS=${this.#told}`;
  }

  /** Call this when the sentence may have changed. A changed one is sent within a second. */
  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#describe() !== this.#told) this.#notify(this.take());
    }, MERGE_CHANGES_MS).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
