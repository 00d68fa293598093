/** What the turns of `npm run bench:web` come to. Pure: numbers in, text out. */
import { columns, machineLine, median } from "./report.mjs";

/** Milliseconds of each call, a list for each turn: their percentiles, medians over the turns. */
export function summariseTurns(rounds) {
  const at = (share) =>
    median(rounds.map((times) => times.toSorted((a, b) => a - b)[Math.floor(share * (times.length - 1))]));
  return { p50: at(0.5), p99: at(0.99), calls: rounds.reduce((sum, times) => sum + times.length, 0) };
}

export function webText({ machine, date, berths, rounds, rows }) {
  const header = ["open pages", "p50 µs", "p99 µs", "ratio", "p99 ratio", "berth-web RSS MiB"];
  const lines = rows.map(({ pages, p50, p99, ratio, p99Ratio, memory }) => [
    String(pages),
    ...[p50, p99].map((ms) => (1000 * ms).toFixed(0)),
    ...[ratio, p99Ratio].map((number) => number.toFixed(2)),
    memory === undefined ? "-" : memory.toFixed(0),
  ]);
  const about = `${machineLine({ machine, date })}, broker pinned to core ${machine.core}\n${berths} berths, ${rounds} rounds`;
  return `${about}\n\n${columns(header, lines, [], 0)}`;
}
