/** What the rounds of `npm run bench:shift` come to. Pure: numbers in, text out. */
import { columns, machineLine, median } from "./report.mjs";

/** One row for each size of the tree and contender: the median of its `seconds`, its `ratio` to the first contender. */
export function summariseShift(results) {
  const rows = results.map(({ files, label, seconds }) => ({ files, way: label, time: median(seconds), seconds }));
  const first = (files) => rows.find((row) => row.files === files).time;
  return rows.map((row) => ({ ...row, ratio: row.time / first(row.files) }));
}

export function shiftText({ machine, date, rounds, rows }) {
  const lines = rows.map(({ files, way, time, ratio }) => [String(files), way, time.toFixed(3), ratio.toFixed(2)]);
  const about = `${machineLine({ machine, date })}, all of them used\nwarm, medians of ${rounds} rounds`;
  return `${about}\n\n${columns(["files", "way", "s", "ratio"], lines, [1], 1)}`;
}
