/** What the rounds of `npm run bench:growth` come to. Pure: numbers in, text out. */
import { columns, median, pinnedHead } from "./report.mjs";

/** Rows of the medians of `keys` over each result's `rounds`, each with its `ratio` to the floor at the same `at`. */
export function summariseGrowth(results, at, keys, ratioOf) {
  const rows = results.map(({ rounds, ...row }) => ({
    ...row,
    ...Object.fromEntries(keys.map((key) => [key, median(rounds.map((round) => round[key]))])),
  }));
  return rows.map((row) => {
    const floor = rows.find((other) => other.contender === "floor" && other[at] === row[at]);
    return { ...row, ratio: ratioOf(row, floor) };
  });
}

export function growthText({ descriptors, clients, ...result }) {
  const first = descriptors.map(({ descriptors: count, contender, p50, p99, ratio }) => [
    String(count),
    contender,
    ...[p50, p99, ratio].map((number) => number.toFixed(2)),
  ]);
  const second = clients.map(({ clients: count, contender, rate, ratio }) => [
    String(count),
    contender,
    rate.toFixed(0),
    ratio.toFixed(2),
  ]);
  return [
    pinnedHead(result),
    columns(["descriptors", "contender", "p50 µs", "p99 µs", "ratio"], first, [1], 1),
    columns(["clients", "contender", "calls/s", "ratio"], second, [1], 1),
  ].join("\n\n");
}
