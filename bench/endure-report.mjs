/** What the parts of `npm run bench:endure` come to. Pure: numbers in, text out. */
import { columns, machineLine, median } from "./report.mjs";

/** By how much the last quarter of the rows differs from the second one, as a share: the first one warms up. */
export function driftOf(rows, key) {
  const quarter = Math.floor(rows.length / 4);
  const middle = (part) => median(part.map((row) => row[key]));
  return middle(rows.slice(-quarter)) / middle(rows.slice(quarter, 2 * quarter)) - 1;
}

const percent = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)} %`;

export function endureText({ machine, date, rows }) {
  const header = ["leases", "RSS MiB", "p50 µs", "p99 µs", "descriptors"];
  const lines = rows.map(({ leases, memory, p50, p99, descriptors }) => [
    String(leases),
    memory.toFixed(1),
    p50.toFixed(0),
    p99.toFixed(0),
    String(descriptors),
  ]);
  const drifts = ["memory", "p50", "p99"].map((key) => percent(driftOf(rows, key)));
  const drift = `last quarter over the second: RSS ${drifts[0]}, p50 ${drifts[1]}, p99 ${drifts[2]}`;
  const head = `${machineLine({ machine, date })}\neverything pinned to core ${machine.core}`;
  return `${head}\n\n${columns(header, lines, [], 0)}\n\n${drift}`;
}
