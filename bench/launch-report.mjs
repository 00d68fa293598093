/** What the rounds of `npm run bench:launch` come to. Pure: numbers in, text out. */
import { columns, machineLine, median } from "./report.mjs";

/** One row for each number of servers and contender; `ratio` is its seconds over those of the first contender. */
export function summariseLaunches(results) {
  const rows = results.map(({ servers, contender, rounds }) => ({
    servers,
    contender,
    seconds: median(rounds.map(({ seconds }) => seconds)),
    p50: median(rounds.map(({ p50 }) => p50)) / 1e6,
    p99: median(rounds.map(({ p99 }) => p99)) / 1e6,
  }));
  const first = ({ servers }) => rows.find((row) => row.servers === servers).seconds;
  return rows.map((row) => ({ ...row, ratio: row.seconds / first(row) }));
}

export function launchText({ machine, date, rounds, parallel, rows }) {
  const header = ["servers", "contender", "s", "p50 ms", "p99 ms", "ratio"];
  const lines = rows.map(({ servers, contender, seconds, p50, p99, ratio }) => [
    String(servers),
    contender,
    ...[seconds, p50, p99, ratio].map((number) => number.toFixed(2)),
  ]);
  const about = `everything pinned to core ${machine.core}; ${parallel} on their way at once; medians of ${rounds} rounds`;
  return `${machineLine({ machine, date })}\n${about}\n\n${columns(header, lines, [1], 1)}`;
}
