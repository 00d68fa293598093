/**
 * When is it quiet? From the players of each hour of some weeks, the best hour of the week for a restart. Pure: it
 * takes no clock, and the time zone is an argument.
 */
import type { QuietHour } from "../api/history-shapes.ts";

/** One hour that was measured. */
export interface HourOfPlayers {
  /** Its beginning, in milliseconds since 1970. */
  readonly at: number;
  readonly mean: number;
  readonly high: number;
}

export interface QuietWeek {
  /** Days with a measurement. */
  readonly days: number;
  readonly enough: boolean;
  /** By weekday from Monday, then by hour. */
  readonly mean: readonly (readonly (number | null)[])[];
  readonly best: QuietHour | null;
  readonly others: readonly QuietHour[];
}

/** Fewer days than this name no hour: one holiday would decide. */
export const ENOUGH_DAYS = 14;
const HOURS = 7 * 24;
const HOUR_MS = 3_600_000;
/** Hours this close to the lowest are as quiet. */
const TIE = 0.05;

export function quietWeek(hours: readonly HourOfPlayers[], zone: string, now: number): QuietWeek {
  const clock = weekClock(zone);
  const sums = Array.from({ length: HOURS }, () => ({ sum: 0, count: 0, high: 0 }));
  const days = new Set<number>();
  for (const { at, mean, high } of hours) {
    const slot = sums[clock(at)];
    if (slot === undefined) continue;
    slot.sum += mean;
    slot.count++;
    slot.high = Math.max(slot.high, high);
    days.add(Math.floor(at / (24 * HOUR_MS)));
  }
  const means = sums.map(({ sum, count }) => (count === 0 ? null : Math.round((sum / count) * 100) / 100));
  const enough = days.size >= ENOUGH_DAYS;
  const quietHour = (index: number): QuietHour => ({
    weekday: Math.floor(index / 24),
    hour: index % 24,
    mean: means[index] ?? 0,
    high: sums[index]?.high ?? 0,
    next: nextTime(index, clock, now),
  });
  const best = enough ? quietest(means) : undefined;
  return {
    days: Math.min(days.size, 56),
    enough,
    mean: Array.from({ length: 7 }, (_, day) => means.slice(day * 24, day * 24 + 24)),
    best: best === undefined ? null : quietHour(best),
    others: best === undefined ? [] : otherDays(means, best).map(quietHour),
  };
}

/** The lowest hour; of equal ones the middle of the longest stretch, so that a late restart is still in it. */
export function quietest(means: readonly (number | null)[]): number | undefined {
  const known = means.filter((mean) => mean !== null);
  if (known.length === 0) return undefined;
  const lowest = Math.min(...known);
  const isLow = (index: number): boolean => {
    const mean = means[index % HOURS];
    return mean !== null && mean !== undefined && mean <= lowest + TIE;
  };
  let best: { start: number; length: number } | undefined;
  for (let start = 0; start < HOURS; start++) {
    if (!isLow(start) || isLow(start + HOURS - 1)) continue;
    let length = 1;
    while (length < HOURS && isLow(start + length)) length++;
    if (best === undefined || length > best.length) best = { start, length };
  }
  // It is the same all week.
  if (best === undefined) return means.indexOf(lowest);
  return (best.start + Math.floor((best.length - 1) / 2)) % HOURS;
}

/** The quietest hours of two other days. */
function otherDays(means: readonly (number | null)[], best: number): number[] {
  const order = means
    .flatMap((mean, index) => (mean === null ? [] : [{ mean, index }]))
    .sort((a, b) => a.mean - b.mean || a.index - b.index);
  const found: number[] = [];
  const days = new Set([Math.floor(best / 24)]);
  for (const { index } of order) {
    const day = Math.floor(index / 24);
    if (days.has(day)) continue;
    days.add(day);
    found.push(index);
    if (found.length === 2) break;
  }
  return found;
}

/** Which of the 168 hours of a week a time is in. */
export function weekClock(zone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    weekday: "short",
    hour: "2-digit",
    hourCycle: "h23",
  });
  const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
  return (at) => {
    let [day, hour] = [0, 0];
    for (const { type, value } of format.formatToParts(at)) {
      if (type === "weekday") day = days.indexOf(value);
      if (type === "hour") hour = Number(value);
    }
    return day * 24 + hour;
  };
}

/** The next beginning of an hour of the week, daylight saving time included. */
function nextTime(index: number, clock: (at: number) => number, now: number): number {
  const start = (Math.floor(now / HOUR_MS) + 1) * HOUR_MS;
  // An hour that a change of the clock leaves out comes a week later.
  for (let hours = 0; hours < 2 * HOURS + 2; hours++) {
    if (clock(start + hours * HOUR_MS) === index) return start + hours * HOUR_MS;
  }
  return start;
}
