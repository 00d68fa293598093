/** Numbers and times as the page writes them: "12 ms", "4 d 2 h", "1.5 GB". Pure. */
import type { Time } from "../../src/api/shapes.ts";
import { size } from "../../src/model/text.ts";

const NO_BREAK = "\u00a0";
const two = (n: number): string => String(n).padStart(2, "0");

/** `4,917`. */
export function count(n: number): string {
  return Math.round(n).toLocaleString("en-US");
}

/** A mean of players: `0`, `0.4`, `12`. */
export function mean(n: number): string {
  if (n < 0.05) return "0";
  return n < 0.95 ? n.toFixed(1) : String(Math.round(n));
}

/** `1.5 GB`, as the server writes sizes into its sentences, but in one piece. */
export function bytes(n: number): string {
  return size(n).replaceAll(" ", NO_BREAK);
}

/** `12 s`, `4 min`, `3 h 09 min`, `4 d 2 h`. Below zero is `0 s`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (seconds < 60) return unit(seconds, "s");
  if (minutes < 60) return unit(minutes, "min");
  if (hours < 24) return `${unit(hours, "h")} ${two(minutes % 60)}${NO_BREAK}min`;
  return `${unit(Math.floor(hours / 24), "d")} ${unit(hours % 24, "h")}`;
}

/** As {@link duration}, without the minutes of hours: for rows. */
export function shortDuration(ms: number): string {
  const hours = Math.floor(ms / 3_600_000);
  return hours >= 1 && hours < 24 ? unit(hours, "h") : duration(ms);
}

/** What is left, as `4:12` or `1:04:12`. Never below `0:00`. */
export function countdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** `14:02`, in the reader's time zone. */
export function clockTime(time: Time): string {
  const date = new Date(time);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** `14:02` of today, else `29 Nov 14:02`. */
export function asOf(time: Time, now: Time): string {
  const sameDay = new Date(time).toDateString() === new Date(now).toDateString();
  return sameDay ? clockTime(time) : `${dayAndMonth(time)} ${clockTime(time)}`;
}

/** `29 Nov`. */
export function dayAndMonth(time: Time): string {
  return new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

/** `06:00`, and `00:00` for 24. */
export function hourOfDay(hour: number): string {
  return `${two(hour % 24)}:00`;
}

/** `3 problems`, `1 problem`. */
export function plural(n: number, one: string, many: string = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

function unit(n: number, name: string): string {
  return `${n}${NO_BREAK}${name}`;
}
