/** The file of reservations: JSON that is read only if it is exactly what was written. Pure. */
import { isRangeBase, RANGE_SIZE } from "../../accounts.ts";
import { BerthError } from "../../errors.ts";
import type { Range } from "./range.ts";

/** One owner's range. */
export interface Reservation extends Range {
  /** The berth's name. */
  readonly owner: string;
  /** When it was reserved (ISO 8601). */
  readonly since: string;
}

export interface Reservations {
  /** Where the search for the next one begins. */
  readonly next: number | undefined;
  /** By base. */
  readonly list: readonly Reservation[];
}

const VERSION = 1;

export function encodeReservations({ next, list }: Reservations): string {
  return `${JSON.stringify({ version: VERSION, next, ranges: list }, undefined, 1)}\n`;
}

/** Throws STATE_DAMAGED unless every reservation in it is certain. `text` undefined: there is no file. */
export function decodeReservations(path: string, text: string | undefined): Reservations {
  if (text === undefined) throw damaged(path, "it is missing");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(path, "it is not JSON", cause);
  }
  if (!isRecord(value) || value["version"] !== VERSION) throw damaged(path, `it is not of version ${VERSION}`);
  const { next, ranges } = value;
  if (next !== undefined && typeof next !== "number") throw damaged(path, '"next" is no number');
  if (!Array.isArray(ranges)) throw damaged(path, '"ranges" is no array');
  const list = ranges.map((range: unknown, index) => {
    if (isReservation(range)) return range;
    throw damaged(path, `ranges[${index}] is no reservation`);
  });
  if (new Set(list.map(({ owner }) => owner)).size < list.length) throw damaged(path, "an owner has two ranges");
  if (new Set(list.map(({ base }) => base)).size < list.length) throw damaged(path, "a range has two owners");
  return { next, list };
}

function isReservation(value: unknown): value is Reservation {
  if (!isRecord(value)) return false;
  const { owner, base, count, since } = value;
  return (
    typeof owner === "string" &&
    owner !== "" &&
    typeof base === "number" &&
    isRangeBase(base) &&
    count === RANGE_SIZE &&
    typeof since === "string"
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function damaged(path: string, what: string, cause?: unknown): BerthError {
  return new BerthError(
    "STATE_DAMAGED",
    `the reservations of id ranges cannot be read for certain: ${path}: ${what}; restore it from a backup, or write it ` +
      "anew from the owners of the files below STATE/roots. Nothing is reserved until then, so that no range has two owners",
    { cause },
  );
}
