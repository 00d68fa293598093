/** Exit codes of every program of this package, and how an error becomes one. */
import { BerthError, type ErrorCode, RefusedError } from "../../errors.ts";
import { printable } from "../../printable.ts";

export const EXIT_REFUSED = 1;
export const EXIT_USAGE = 100;
export const EXIT_SYSTEM = 111;

const refusals: readonly ErrorCode[] = [
  "CONFIG_INVALID",
  "IMAGE_ABSENT",
  "IMAGE_IN_USE",
  "IMPORT_FAILED",
  "RANGE_IN_USE",
  "RANGE_UNAVAILABLE",
  "STATE_ABSENT",
];

/** The exit code that says what kind of error it was. */
function exitCodeOf(error: unknown): number {
  if (error instanceof RefusedError) return EXIT_REFUSED;
  if (!(error instanceof BerthError)) return EXIT_SYSTEM;
  if (error.code === "USAGE") return EXIT_USAGE;
  return refusals.includes(error.code) ? EXIT_REFUSED : EXIT_SYSTEM;
}

/**
 * Prints an error as `PROGRAM: sentence` on standard error and sets the exit code, of several errors the highest; a
 * defect keeps its stack. What a broker says is shown, never obeyed.
 */
export function fail(program: string, error: unknown): void {
  const text =
    error instanceof BerthError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error);
  process.stderr.write(`${program}: ${text.split("\n").map(printable).join("\n")}\n`);
  process.exitCode = Math.max(Number(process.exitCode ?? 0), exitCodeOf(error));
}
