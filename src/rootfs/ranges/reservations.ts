/** Encodes and decodes the file of reservations (JSON). It accepts only what it wrote itself. Pure. */
import { dirname, join } from "node:path";
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
  /** The base at which the search for the next range starts. */
  readonly next: number | undefined;
  /** Sorted by base. */
  readonly list: readonly Reservation[];
}

const VERSION = 1;

export function encodeReservations({ next, list }: Reservations): string {
  return `${JSON.stringify({ version: VERSION, next, ranges: list }, undefined, 1)}\n`;
}

/** Throws STATE_DAMAGED unless every reservation is valid. `text` is undefined when the file does not exist. */
export function decodeReservations(path: string, text: string | undefined): Reservations {
  if (text === undefined) throw damaged(path, "it is missing");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(path, "it is not JSON", cause);
  }
  if (!isRecord(value) || value["version"] !== VERSION) throw damaged(path, `its version is not ${VERSION}`);
  const { next, ranges } = value;
  if (next !== undefined && typeof next !== "number") throw damaged(path, '"next" is not a number');
  if (!Array.isArray(ranges)) throw damaged(path, '"ranges" is not an array');
  const list = ranges.map((range: unknown, index) => {
    if (isReservation(range)) return range;
    throw damaged(path, `ranges[${index}] is not a reservation`);
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
  const roots = join(dirname(dirname(path)), "roots");
  return new BerthError(
    "STATE_DAMAGED",
    `the file of id ranges is damaged: ${path}: ${what}; restore it from a backup, or write it again from the owners of ` +
      `the berths' files (\`stat -c '%u %n' ${roots}/*/upper\`). Until then berthd reserves no range, so that no range gets two owners`,
    { cause },
  );
}
