/** One line of a server's log, whatever has kept it. Pure. */
import { printable, printableJson } from "../../printable.ts";

export interface LogLine {
  /** As Date reads it. */
  readonly time: string;
  /** Who wrote it: the server, berthd, or for example systemd. */
  readonly from: string;
  readonly pid: number | null;
  readonly message: string;
}

const written = /^(\S+Z) ([a-z]+)(?:\[(\d+)\])?: (.*)$/s;

/** A line of the files that `berth-launch --log` writes; undefined if it is none. */
export function parseLogLine(text: string): LogLine | undefined {
  const [, time, from, pid, message] = written.exec(text) ?? [];
  if (time === undefined || from === undefined || message === undefined) return undefined;
  return { time, from, pid: pid === undefined ? null : Number(pid), message };
}

/** What is read of a journal's record, besides its time. */
export const JOURNAL_FIELDS = ["MESSAGE", "SYSLOG_IDENTIFIER", "_PID", "_SYSTEMD_USER_UNIT"] as const;

/** A record of `journalctl --output=json`; undefined if it is none. */
export function parseJournalRecord(text: string): LogLine | undefined {
  const record: unknown = JSON.parse(text);
  if (typeof record !== "object" || record === null) return undefined;
  const {
    __REALTIME_TIMESTAMP: micros,
    SYSLOG_IDENTIFIER: from,
    _PID: pid,
    _SYSTEMD_USER_UNIT: userUnit,
    MESSAGE: message,
  } = { ...emptyRecord, ...record };
  // Every program chooses its identifier. journald itself writes the fields that begin with an underscore.
  const isManager = Number(pid) === 1 || userUnit === "init.scope";
  return {
    time: new Date(Number(micros) / 1000).toISOString(),
    from: isManager && from === "systemd" ? "systemd" : "server",
    pid: pid === null ? null : Number(pid),
    // journald gives what is not UTF-8 as a list of bytes.
    message: Array.isArray(message) ? Buffer.from(message).toString() : String(message ?? ""),
  };
}

const emptyRecord: Readonly<Record<"__REALTIME_TIMESTAMP" | (typeof JOURNAL_FIELDS)[number], unknown>> = {
  __REALTIME_TIMESTAMP: 0,
  SYSLOG_IDENTIFIER: null,
  _PID: null,
  _SYSTEMD_USER_UNIT: null,
  MESSAGE: null,
};

/** As people read it. */
export function showLine({ time, from, pid, message }: LogLine): string {
  return `${time} ${printable(`${from}${pid === null ? "" : `[${pid}]`}: ${message}`)}\n`;
}

/** As programs read it: one JSON object a line. */
export function jsonLine(line: LogLine): string {
  return `${printableJson(line)}\n`;
}
