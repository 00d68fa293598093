/** How many events of one berth are told as they come: its tenant can take and release it in a loop. */
import type { TimelineEvent } from "../api/history-shapes.ts";

export interface BerthId {
  readonly host: string;
  readonly name: string;
}

export interface Happened extends BerthId {
  readonly event: TimelineEvent;
}

/** Events of one berth in one minute. */
export const EVENTS_PER_MINUTE = 60;
const MINUTE_MS = 60_000;

interface Minute {
  readonly number: number;
  kept: number;
  /** Events left out, and the last of them. */
  left: number;
  last: Happened;
}

export class EventLimit {
  readonly #minutes = new Map<string, Minute>();

  /**
   * What to tell of it: the event, nothing, or before it the event that counts those left out. `now` in milliseconds:
   * the time of the event, unless that is another host's word.
   */
  admit(one: Happened, now: number = one.event.at): Happened[] {
    const key = keyOf(one);
    const number = Math.floor(now / MINUTE_MS);
    const minute = this.#minutes.get(key);
    if (minute === undefined || minute.number !== number) {
      this.#minutes.set(key, { number, kept: 1, left: 0, last: one });
      return minute === undefined ? [one] : [...countOf(minute), one];
    }
    if (minute.kept < EVENTS_PER_MINUTE) {
      minute.kept++;
      return [one];
    }
    minute.left++;
    minute.last = one;
    return [];
  }

  /** What counts the events left out in minutes that are over. `now` in milliseconds. */
  over(now: number): Happened[] {
    const counts: Happened[] = [];
    for (const [key, minute] of this.#minutes) {
      if ((minute.number + 1) * MINUTE_MS > now) continue;
      counts.push(...countOf(minute));
      this.#minutes.delete(key);
    }
    return counts;
  }
}

/** The last one is told with it: it says how the berth is now. */
function countOf({ left, last }: Minute): Happened[] {
  if (left === 0) return [];
  if (left === 1) return [last];
  return [{ ...last, event: { ...last.event, text: `… and ${left - 1} more, then: ${last.event.text}` } }];
}

export function keyOf({ host, name }: BerthId): string {
  return `${host}/${name}`;
}
