/** How much of an archive there is: a line on a terminal, and nothing elsewhere. Writes to standard error. */
import { printable } from "../../printable.ts";
import { sizeOf } from "../print/size.ts";

export class Meter implements Disposable {
  readonly #what: string;
  #isShown = false;

  constructor(what: string) {
    this.#what = printable(what);
  }

  show(bytes: number): void {
    if (!process.stderr.isTTY) return;
    this.#isShown = true;
    process.stderr.write(`\r\x1b[K${this.#what}: ${sizeOf(bytes)}`);
  }

  [Symbol.dispose](): void {
    if (this.#isShown) process.stderr.write("\r\x1b[K");
  }
}
