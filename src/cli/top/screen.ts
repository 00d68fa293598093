/**
 * A terminal that shows one text after another, until somebody presses q or Ctrl-C. What was on it before is there
 * again afterwards, however it ends.
 */
import { print } from "../print/stdout.ts";

const ALTERNATE = "\u001b[?1049h\u001b[?25l";
const BACK = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const END_OF_LINE = "\u001b[K";
const END_OF_SCREEN = "\u001b[J";

const CTRL_C = "\u0003";

export class Screen implements Disposable {
  readonly #onKey: (chunk: Buffer) => void;

  /** `quit` is called for q and Ctrl-C. */
  constructor(quit: () => void) {
    this.#onKey = (chunk) => {
      const keys = chunk.toString("latin1");
      if (keys.includes("q") || keys.includes(CTRL_C)) quit();
    };
    if (process.stdin.isTTY === true) {
      process.stdin.setRawMode(true);
      process.stdin.on("data", this.#onKey);
    }
    print(ALTERNATE);
  }

  /** The text from the first line on. What does not fit is left out, and the last line says so. */
  show(text: string): void {
    const { rows } = process.stdout;
    const room = rows > 2 ? rows - 1 : Number.POSITIVE_INFINITY; // some terminals do not tell
    const lines = text.trimEnd().split("\n");
    const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), `and ${lines.length - room + 1} more`];
    print(`${HOME}${shown.map((line) => `${line}${END_OF_LINE}\n`).join("")}${END_OF_SCREEN}`);
  }

  [Symbol.dispose](): void {
    print(BACK);
    if (process.stdin.isTTY !== true) return;
    process.stdin.off("data", this.#onKey);
    process.stdin.setRawMode(false);
    process.stdin.pause();
  }
}
