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

/** Milliseconds: how long all first leases together took, and one of them, from rounds in nanoseconds. */
export function summariseRush({ berths, connections, rounds }) {
  const middle = (key) => median(rounds.map((round) => round[key])) / 1e6;
  return { berths, connections, time: middle("time"), p50: middle("p50"), p99: middle("p99"), rounds };
}

/** The rows for people, a blank line between the images. */
export function rootText({ cycles, rows, rush, ...result }) {
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
  const table = columns(header, lines, [1], 1);
  return `${pinnedHead(result, `up to ${cycles} leases in each`)}\n\n${table}\n\n${rushText(rush)}`;
}

function rushText({ berths, connections, time, p50, p99 }) {
  const each = `one waits ${p50.toFixed(0)} ms (p50) and ${p99.toFixed(0)} ms (p99)`;
  return `${berths} first leases at once, over ${connections} connections: all take ${time.toFixed(0)} ms, ${each}`;
}
