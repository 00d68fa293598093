/** What the rounds of `npm run bench:launch` come to. Pure: numbers in, text out. */
import { columns, median, pinnedHead } from "./report.mjs";

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

export function launchText({ parallel, rows, ...result }) {
  const header = ["servers", "contender", "s", "p50 ms", "p99 ms", "ratio"];
  const lines = rows.map(({ servers, contender, seconds, p50, p99, ratio }) => [
    String(servers),
    contender,
    ...[seconds, p50, p99, ratio].map((number) => number.toFixed(2)),
  ]);
  return `${pinnedHead(result, `${parallel} on their way at once`)}\n\n${columns(header, lines, [1], 1)}`;
}
