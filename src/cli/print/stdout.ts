/**
 * Standard output of `berth`. Nothing here is touched before there is something to print: opening the stream makes a
 * pipe non-blocking, and `berth run` must hand its standard streams to the server as it got them.
 */
import { BerthError } from "../../errors.ts";
import { fail } from "./exit.ts";

let guarded = false;

/** Writes to standard output. A reader that has gone (`berth ls | head -1`) ends the program quietly. */
export function print(text: string): void {
  if (!guarded) process.stdout.on("error", onError);
  guarded = true;
  process.stdout.write(text);
}

/** Whether standard output shows colours: a terminal, unless NO_COLOR or TERM=dumb says otherwise. */
export function hasColours(): boolean {
  return process.stdout.isTTY === true && process.stdout.hasColors();
}

/** How long a line can be. Undefined where standard output is no terminal. */
export function terminalWidth(): number | undefined {
  return process.stdout.isTTY === true && process.stdout.columns > 0 ? process.stdout.columns : undefined;
}

function onError(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(0);
  fail("berth", new BerthError("SYSTEM_ERROR", `cannot write to standard output: ${error.code ?? error.message}`));
  process.exit();
}
