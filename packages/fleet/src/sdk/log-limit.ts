/** Writes lines, but not more than a few in a row: every user of the host can have connections refused. */

const MOST = 50;
const INTERVAL_MS = 10_000;

export class LogLimit {
  readonly #write: (line: string) => void;
  #written = 0;
  #left = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  write(line: string): void {
    this.#timer ??= setTimeout(() => this.#begin(), INTERVAL_MS).unref();
    if (this.#written++ < MOST) this.#write(line);
    else this.#left++;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #begin(): void {
    this.#timer = undefined;
    if (this.#left > 0) this.#write(`${this.#left} more lines were not written`);
    this.#written = 0;
    this.#left = 0;
  }
}
