/** What the rounds of `npm run bench:root` come to. Pure: numbers in, text out. */
import { columns, median, pinnedHead } from "./report.mjs";

/**
 * One row for each image and way, from `results`: { files, way, disk, rounds: [{ p50, p99 }] } with times in
 * nanoseconds and the disk in bytes. `ratio` is how many times as long it took as by idmap, `growth` as with the
 * smallest image in the same way.
 */
export function summariseRoots(results) {
  const rows = results.map(({ files, way, disk, rounds }) => ({
    files,
    way,
    disk,
    p50: median(rounds.map(({ p50 }) => p50)) / 1000,
    p99: median(rounds.map(({ p99 }) => p99)) / 1000,
    rounds,
  }));
  const [first] = rows;
  return rows.map((row) => ({
    ...row,
    ratio: row.p50 / rows.find((other) => other.files === row.files && other.way === first.way).p50,
    growth: row.p50 / rows.find((other) => other.files === first.files && other.way === row.way).p50,
  }));
}

/** The rows for people, a blank line between the images. */
export function rootText({ cycles, rows, ...result }) {
  const header = ["files", "way", "p50 µs", "p99 µs", "disk KiB", "ratio", "growth"];
  const lines = rows.map(({ files, way, p50, p99, disk, ratio, growth }) => [
    String(files),
    way,
    p50.toFixed(0),
    p99.toFixed(0),
    (disk / 1024).toFixed(0),
    ratio.toFixed(2),
    growth.toFixed(2),
  ]);
  return `${pinnedHead(result, `up to ${cycles} leases in each`)}\n\n${columns(header, lines, [1], 1)}`;
}
