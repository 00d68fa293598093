/** Texts that say how much time is left until a drain ends, such as "in 10 minutes". Pure. */

/** Stands for the time that is left. */
export const WHEN = "{when}";

/** The text with the time in it. `left`: milliseconds to the deadline; undefined without one. */
export function withTime(text: string, left: number | undefined): string {
  return text.replaceAll(WHEN, () => inWords(left));
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
