/** When a server is told of its drain again, as time passes. Pure. */

const MINUTE_MS = 60_000;
/** How long before the deadline it is told again, in milliseconds, the longest first. */
const MARKS: readonly number[] = [30, 15, 10, 5, 2, 1, 1 / 2, 1 / 6].map((minutes) => minutes * MINUTE_MS);
/** A mark that comes so soon is left out: it was told just now. */
const JUST_NOW_MS = 500;

/** The next time to tell it, as milliseconds before the deadline. Undefined if there is none. */
export function nextMark(left: number): number | undefined {
  return MARKS.find((mark) => mark < left - JUST_NOW_MS);
}
