/** How far an import is: a line that changes on a terminal, else one line for each step. Writes to standard error. */

import { printable } from "../../printable.ts";
import type { ImportStep, OnProgress } from "../../rootfs/images/import.ts";

export interface Progress {
  readonly onProgress: OnProgress;
  readonly onWarning: (message: string) => void;
  /** Leaves the terminal's line empty. */
  readonly end: () => void;
}

/** Times a second that the terminal's line changes, at most. */
const RATE = 10;

export function importProgress(
  stream: NodeJS.WriteStream = process.stderr,
  now: () => number = () => performance.now(),
): Progress {
  let step: ImportStep | undefined;
  let next = 0;
  const onProgress: OnProgress = (current, files) => {
    const isNew = current !== step;
    step = current;
    if (!stream.isTTY) {
      if (isNew) stream.write(`berth: ${current}\n`);
    } else if (isNew || now() >= next) {
      next = now() + 1000 / RATE;
      stream.write(`\r\x1b[K${current}: ${files} files`);
    }
  };
  const onWarning = (message: string): void => {
    stream.write(`berth: warning: ${printable(message)}\n`);
  };
  const end = (): void => {
    if (stream.isTTY && step !== undefined) stream.write("\r\x1b[K");
  };
  return { onProgress, onWarning, end };
}
