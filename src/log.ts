/** The broker's log: one line for each event, for people, for journald, or as JSON for programs. Writes to stderr. */
import { fstatSync, writeSync } from "node:fs";
import { printable, printableJson } from "./printable.ts";

export type Level = "error" | "warning" | "notice" | "info" | "debug";

/** Facts about an event, beside its sentence; they appear in the JSON format. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Takes one event: what happened, in one sentence, and its facts. */
export type Log = (level: Level, message: string, fields?: Fields) => void;

export type LogFormat = "text" | "journal" | "json";

// syslog(3) levels, which sd-daemon(3) writes as <N> in front of a line.
const priorities: Readonly<Record<Level, number>> = { error: 3, warning: 4, notice: 5, info: 6, debug: 7 };

/** Whether standard error is the journal's stream: JOURNAL_STREAM names its device and inode (systemd.exec(5)). */
export function stderrIsJournal(env: NodeJS.ProcessEnv = process.env): boolean {
  const stream = env["JOURNAL_STREAM"];
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(2);
    return stream === `${dev}:${ino}`;
  } catch {
    return false; // no standard error at all
  }
}

/** A log in the given format that drops what is less important than `threshold`. */
export function createLog(
  format: LogFormat,
  threshold: Level = "info",
  write: (line: string) => void = writeToStderr,
  now: () => Date = () => new Date(),
): Log {
  const lowest = priorities[threshold];
  return (level, message, fields = {}) => {
    if (priorities[level] > lowest) return;
    if (format === "json") write(`${printableJson({ time: now().toISOString(), level, message, ...fields })}\n`);
    else if (format === "journal") write(`<${priorities[level]}>${printable(message)}\n`);
    else write(`${now().toISOString()} ${level.padEnd(7)} ${printable(message)}\n`);
  };
}

const STDERR = 2;
/** Node's stream has something that standard error did not take at once. */
let isStreaming = false;

/** Writes at once. What standard error does not take now is left to the stream, with all that follows meanwhile. */
function writeToStderr(line: string): void {
  isStreaming &&= process.stderr.writableLength > 0;
  let written = 0;
  try {
    // The stream takes five times as long.
    if (!isStreaming) written = writeSync(STDERR, line);
  } catch {
    // Full or closed: the stream waits, or tells.
  }
  if (written === Buffer.byteLength(line)) return;
  isStreaming = true;
  process.stderr.write(Buffer.from(line).subarray(written));
}
