/** Programs that an import leaves the work to (cp, casync, sync): their lines as they come, and why they failed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { abortError, BerthError } from "../../errors.ts";

export interface CommandOptions {
  readonly signal?: AbortSignal;
  /** A descriptor that it inherits, so that whatever depends on its being open lasts as long as the program. */
  readonly inherit?: number;
  /** Each line of standard output. */
  readonly onLine?: (line: string) => void;
  /** Each line of standard error: true if it is no complaint. */
  readonly onNote?: (line: string) => boolean;
}

/** How much of what a program complained about goes into the error. */
const COMPLAINTS = 3;

/**
 * Runs a program to its end. Throws IMPORT_FAILED with its last complaints when it fails or is not installed; when the
 * signal is aborted, it is ended first, and then the signal's reason thrown.
 */
export async function runCommand(argv: readonly [string, ...string[]], options: CommandOptions = {}): Promise<void> {
  const { signal, inherit, onLine, onNote } = options;
  if (signal?.aborted) throw abortError(signal);
  const [program, ...args] = argv;
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe", ...(inherit === undefined ? [] : [inherit])],
    // Messages that are the same for everybody; and no editing of names.
    env: { ...process.env, LC_ALL: "C" },
  });
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("no pipes");
  const complaints: string[] = [];
  createInterface(stdout).on("line", (line) => onLine?.(line));
  createInterface(stderr).on("line", (line) => {
    if (onNote?.(line) === true) return;
    complaints.push(line);
    if (complaints.length > COMPLAINTS) complaints.shift();
  });
  const stop = (): void => void child.kill("SIGTERM");
  signal?.addEventListener("abort", stop);
  try {
    const [code, killedBy] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    if (signal?.aborted) throw abortError(signal);
    if (code === 0) return;
    const how = killedBy === null ? `exit status ${code}` : killedBy;
    throw new BerthError(
      "IMPORT_FAILED",
      `${program} failed (${how}): ${complaints.join("; ") || "it does not say why"}`,
    );
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    throw new BerthError("IMPORT_FAILED", `${program} is not installed; on Debian: apt install ${packageOf(program)}`, {
      cause: error,
    });
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

function packageOf(program: string): string {
  return program === "casync" ? "casync" : "coreutils";
}
