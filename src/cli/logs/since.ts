/** The value of --since: a time, or how long ago. Pure but for the clock. */
import { BerthError } from "../../errors.ts";

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
const ago = /^(\d{1,9})([smhd])$/;
const date = /^\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?$/;

/** Throws USAGE. A time without a zone is local, as is midnight of a day. */
export function readSince(text: string, now: number = Date.now()): Date {
  const [, number, unit = ""] = ago.exec(text) ?? [];
  const since =
    number !== undefined
      ? new Date(now - Number(number) * (seconds[unit] ?? 1) * 1000)
      : new Date(date.test(text) ? (text.includes(":") ? text : `${text}T00:00`) : Number.NaN);
  if (!Number.isNaN(since.getTime())) return since;
  throw new BerthError(
    "USAGE",
    `--since ${text} is not a time; write how long ago, as --since 10m or 7d, or a time, as --since '2026-01-31 20:15'`,
  );
}
