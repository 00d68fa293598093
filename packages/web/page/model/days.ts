/** What happened, by day. Pure. */
import type { Time, TimelineEvent } from "../../src/api/shapes.ts";

/** The most events that are kept: a berth that crashes again and again may stay open for days. */
export const MOST_EVENTS = 200;

export interface Day {
  readonly title: string;
  readonly events: readonly TimelineEvent[];
}

/** Groups events, the newest first, by the reader's days. */
export function byDay(events: readonly TimelineEvent[], now: Time): readonly Day[] {
  const days: { title: string; events: TimelineEvent[] }[] = [];
  for (const event of events) {
    const title = dayTitle(event.at, now);
    const day = days.at(-1);
    if (day?.title === title) day.events.push(event);
    else days.push({ title, events: [event] });
  }
  return days;
}

/** `Today`, `Yesterday`, `Friday 27 November`. */
export function dayTitle(time: Time, now: Time): string {
  const midnight = (at: Time): number => new Date(at).setHours(0, 0, 0, 0);
  // A day may have 23 or 25 hours.
  const ago = Math.round((midnight(now) - midnight(time)) / 86_400_000);
  if (ago <= 0) return "Today";
  if (ago === 1) return "Yesterday";
  return new Date(time).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long" });
}

/** Adds what has just happened to what is known: without doubles, the newest first, at most MOST_EVENTS. */
export function withEvent(events: readonly TimelineEvent[], event: TimelineEvent): readonly TimelineEvent[] {
  if (events.some((one) => one.at === event.at && one.kind === event.kind && one.text === event.text)) return events;
  return [event, ...events].sort((a, b) => b.at - a.at).slice(0, MOST_EVENTS);
}
