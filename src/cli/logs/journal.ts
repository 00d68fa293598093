/** The journal of a unit, by journalctl(1). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { BerthError, SysError } from "../../errors.ts";
import { isExecutable } from "../../launcher-path.ts";
import { native } from "../../native.ts";
import { programPath } from "../explain/program-path.ts";
import { print } from "../print/stdout.ts";
import { JOURNAL_FIELDS, jsonLine, parseJournalRecord } from "./log-line.ts";

export interface JournalChoice {
  readonly unit: string;
  /** Whether the user's own manager has it. */
  readonly isUser: boolean;
  /** All without. */
  readonly lines: number | undefined;
  readonly since: Date | undefined;
  readonly follow: boolean;
}

function argumentsFor({ unit, isUser, lines, since, follow }: JournalChoice): string[] {
  return [
    `--${isUser ? "user-unit" : "unit"}=${unit}`,
    `--lines=${lines ?? "all"}`,
    ...(since === undefined ? [] : [`--since=@${since.getTime() / 1000}`]),
    "--no-pager",
    "--quiet",
    ...(follow ? ["--follow"] : []),
  ];
}

function journalctl(): string {
  const path = programPath("journalctl", process.cwd(), process.env["PATH"] ?? "");
  if (isExecutable(path)) return path;
  throw new BerthError("SYSTEM_ERROR", "there is no journalctl in PATH; install systemd's");
}

/** Becomes journalctl. */
export function becomeJournalctl(choice: JournalChoice): never {
  const path = journalctl();
  const env = Object.entries(process.env).map(([variable, value]) => `${variable}=${value}`);
  throw new SysError("execve", -native.exec(path, ["journalctl", ...argumentsFor(choice)], env, 0), path);
}

/** Prints the same lines as those of a log in files. Ends as journalctl does. */
export async function printJournal(choice: JournalChoice, signal: AbortSignal): Promise<void> {
  const words = [...argumentsFor(choice), "--output=json", `--output-fields=${JOURNAL_FIELDS.join(",")}`];
  const child = spawn(journalctl(), words, { stdio: ["ignore", "pipe", "inherit"] });
  const stop = (): void => void child.kill();
  signal.addEventListener("abort", stop, { once: true });
  const closed = once(child, "close");
  for await (const text of createInterface(child.stdout)) {
    const line = parseJournalRecord(text);
    if (line !== undefined) print(jsonLine(line));
  }
  const [status] = await closed;
  if (typeof status === "number" && status !== 0) process.exitCode = status;
}
