/** Runs the programs of imports and archives (casync, tar, sync). Reports what they print, and why they failed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { abortError, BerthError, type ErrorCode } from "../../errors.ts";
import { launcherPath } from "../../launcher-path.ts";

export interface CommandOptions {
  readonly signal?: AbortSignal;
  /** A descriptor that the program inherits, for example a lock that must last as long as the program. */
  readonly inherit?: number;
  /** Called with each line of standard output. */
  readonly onLine?: (line: string) => void;
  /** Called instead with each part of standard output. The next one comes when it has resolved. */
  readonly onOutput?: (bytes: Buffer) => Promise<void>;
  /** Standard input. Default: it is empty. */
  readonly input?: AsyncIterable<Buffer>;
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
 * throws the signal's reason. So it does with what `input` or `onOutput` throws.
 */
export async function runCommand(argv: readonly [string, ...string[]], options: CommandOptions = {}): Promise<number> {
  const { signal, inherit, onLine, onOutput, input, onNote, mostStatus = 0, failure = "IMPORT_FAILED" } = options;
  if (signal?.aborted) throw abortError(signal);
  const [program] = argv;
  if (!isInstalled(program))
    throw new BerthError(failure, `${program} is not installed; on Debian: apt install ${packageOf(program)}`);
  // With this process the program ends, too, and what it has started: they must not go on fetching for nobody.
  const child = spawn(launcherPath(), ["--end-with", String(process.pid), "--", ...argv], {
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe", ...(inherit === undefined ? [] : [inherit])],
    // LC_ALL=C: messages are in English, and names are not quoted differently by locale.
    env: { ...process.env, LC_ALL: "C" },
  });
  const { stdin, stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("no pipes");
  const errorLines: string[] = [];
  const stop = (): void => void child.kill("SIGTERM");
  let broken: { readonly error: unknown } | undefined;
  const orStop = async (flow: Promise<void>): Promise<void> => {
    try {
      await flow;
    } catch (error) {
      broken ??= { error };
      stop();
    }
  };
  if (input !== undefined && stdin !== null) void orStop(feed(input, stdin));
  const read = onOutput === undefined ? undefined : orStop(passOn(stdout, onOutput));
  if (read === undefined) createInterface(stdout).on("line", (line) => onLine?.(line));
  createInterface(stderr).on("line", (line) => {
    if (onNote?.(line) === true) return;
    errorLines.push(line);
    if (errorLines.length > MAX_ERROR_LINES) errorLines.shift();
  });
  signal?.addEventListener("abort", stop);
  try {
    const [code, killedBy] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    await read;
    if (signal?.aborted) throw abortError(signal);
    if (broken !== undefined) throw broken.error;
    if (code !== null && code <= mostStatus) return code;
    const how = killedBy === null ? `exit status ${code}` : killedBy;
    throw new BerthError(failure, `${program} failed (${how}): ${errorLines.join("; ") || "it printed no reason"}`);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Ends early if the program does: its exit status says why. */
async function feed(input: AsyncIterable<Buffer>, stdin: Writable): Promise<void> {
  stdin.on("error", () => undefined);
  for await (const bytes of input) {
    if (stdin.destroyed) return;
    if (stdin.write(bytes)) continue;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        stdin.off("drain", settle).off("close", settle);
        resolve();
      };
      stdin.on("drain", settle).on("close", settle);
    });
  }
  stdin.end();
}

async function passOn(stdout: Readable, onOutput: (bytes: Buffer) => Promise<void>): Promise<void> {
  for await (const bytes of stdout) await onOutput(bytes as Buffer);
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
