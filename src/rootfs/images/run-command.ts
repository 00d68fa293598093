/** Runs the programs of an import (casync, sync, touch). Reports their lines as they come, and why they failed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { abortError, BerthError, type ErrorCode } from "../../errors.ts";
import { launcherPath } from "../../launcher-path.ts";

export interface CommandOptions {
  readonly signal?: AbortSignal;
  /** A descriptor that the program inherits, for example a lock that must last as long as the program. */
  readonly inherit?: number;
  /** Called with each line of standard output. */
  readonly onLine?: (line: string) => void;
  /** Called with each line of standard error. True when the line is not an error message. */
  readonly onNote?: (line: string) => boolean;
  /** The highest exit status that is no failure. Default: 0. */
  readonly mostStatus?: number;
  /** The code of the error. Default: IMPORT_FAILED. */
  readonly failure?: ErrorCode;
}

/** The number of error lines that go into the error. */
const MAX_ERROR_LINES = 3;

/**
 * Runs a program and waits until it ends. Gives its exit status. Throws IMPORT_FAILED, or `failure`, with the last
 * error lines when it fails, or when it is not installed. When the signal is aborted, it stops the program first, then
 * throws the signal's reason.
 */
export async function runCommand(argv: readonly [string, ...string[]], options: CommandOptions = {}): Promise<number> {
  const { signal, inherit, onLine, onNote, mostStatus = 0, failure = "IMPORT_FAILED" } = options;
  if (signal?.aborted) throw abortError(signal);
  const [program] = argv;
  if (!isInstalled(program))
    throw new BerthError(failure, `${program} is not installed; on Debian: apt install ${packageOf(program)}`);
  // With this process the program ends, too, and what it has started: they must not go on fetching for nobody.
  const child = spawn(launcherPath(), ["--end-with", String(process.pid), "--", ...argv], {
    stdio: ["ignore", "pipe", "pipe", ...(inherit === undefined ? [] : [inherit])],
    // LC_ALL=C: messages are in English, and names are not quoted differently by locale.
    env: { ...process.env, LC_ALL: "C" },
  });
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("no pipes");
  const errorLines: string[] = [];
  createInterface(stdout).on("line", (line) => onLine?.(line));
  createInterface(stderr).on("line", (line) => {
    if (onNote?.(line) === true) return;
    errorLines.push(line);
    if (errorLines.length > MAX_ERROR_LINES) errorLines.shift();
  });
  const stop = (): void => void child.kill("SIGTERM");
  signal?.addEventListener("abort", stop);
  try {
    const [code, killedBy] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    if (signal?.aborted) throw abortError(signal);
    if (code !== null && code <= mostStatus) return code;
    const how = killedBy === null ? `exit status ${code}` : killedBy;
    throw new BerthError(failure, `${program} failed (${how}): ${errorLines.join("; ") || "it printed no reason"}`);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Whether PATH has the program, as execvp(3) looks for it. */
function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "/usr/local/bin:/bin:/usr/bin").split(":").some((folder) => {
    try {
      accessSync(resolve(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function packageOf(program: string): string {
  return program === "casync" || program === "tar" ? program : "coreutils";
}
