/** What the rounds of `npm run bench:cli` come to. Pure: numbers in, text out. */
import { columns, machineLine, median } from "./report.mjs";

/** The middle and the shortest of the milliseconds of each command, and both as a ratio to the floor's. */
export function summariseCommands(times, floor) {
  const least = (name) => Math.min(...times[name]);
  return Object.keys(times).map((name) => ({
    command: name,
    p50: median(times[name]),
    least: least(name),
    ratio: median(times[name]) / median(times[floor]),
    leastRatio: least(name) / least(floor),
  }));
}

export function cliText({ machine, date, rounds, rows }) {
  const lines = rows.map(({ command: name, p50, least, ratio, leastRatio }) => [
    name,
    ...[p50, least].map((ms) => ms.toFixed(1)),
    ...[ratio, leastRatio].map((times) => times.toFixed(2)),
  ]);
  const table = columns(["command", "p50 ms", "least ms", "ratio", "least ratio"], lines, [0], 0);
  return `${machineLine({ machine, date })}\n${rounds} rounds\n\n${table}`;
}
