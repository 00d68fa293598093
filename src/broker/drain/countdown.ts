/** What a server is told of its drain as time passes: when to tell it again, and in which words. Pure. */

const MINUTE_MS = 60_000;
/** How long before the deadline it is told again, in milliseconds, the longest first. */
const MARKS: readonly number[] = [30, 15, 10, 5, 2, 1, 1 / 2, 1 / 6].map((minutes) => minutes * MINUTE_MS);
/** A mark that comes so soon is left out: it was told just now. */
const JUST_NOW_MS = 500;

/** Stands for the time that is left, as "in 10 minutes". A command without it is typed once. */
export const WHEN = "{when}";

/** The next time to tell it, as milliseconds before the deadline. Undefined if there is none. */
export function nextMark(left: number): number | undefined {
  return MARKS.find((mark) => mark < left - JUST_NOW_MS);
}

/** The line to type. `left`: milliseconds to the deadline; undefined without one. */
export function lineOf(command: string, left: number | undefined): string {
  return command.replaceAll(WHEN, () => inWords(left));
}

function inWords(left: number | undefined): string {
  if (left === undefined) return "once nobody plays";
  const seconds = Math.max(1, Math.round(left / 1000));
  const minutes = Math.round(seconds / 60);
  if (seconds < 120 && seconds !== 60) return seconds === 1 ? "in 1 second" : `in ${seconds} seconds`;
  if (minutes < 120 && minutes !== 60) return minutes === 1 ? "in 1 minute" : `in ${minutes} minutes`;
  const hours = Math.round(minutes / 60);
  return hours === 1 ? "in 1 hour" : `in ${hours} hours`;
}
