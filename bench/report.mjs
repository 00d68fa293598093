/** What the rounds come to: medians, ratios to the floor, the table and the last line. Pure: numbers in, text out. */

/** berthd's promise: a call over a connection that stays, one descriptor, at most this many times the floor's p50. */
export const TARGET = 1.8;

const operations = {
  hold: "acquire",
  lease: "acquire + release",
  connect: "connect + acquire + close",
  crowd: "8 connections × 100 acquires pipelined",
};

/** The middle one, or the mean of the two in the middle. */
export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * One row for each case and contender, from `results`: { case, label, rounds: [{ p50, p99, rate }] } with times in
 * nanoseconds. Rows hold microseconds and calls per second, medians over the rounds; `ratio` is p50 over the floor's.
 */
export function summarise(results) {
  const rows = results.map(({ case: { mode, count }, label, rounds }) => ({
    operation: operations[mode],
    descriptors: count,
    contender: label,
    p50: median(rounds.map(({ p50 }) => p50 / 1000)),
    p99: median(rounds.map(({ p99 }) => p99 / 1000)),
    rate: median(rounds.map(({ rate }) => rate)),
    rounds: rounds.map(({ p50, p99, rate }) => ({ p50: p50 / 1000, p99: p99 / 1000, rate })),
  }));
  const floorOf = (row) =>
    rows.find(
      ({ operation, descriptors, contender }) =>
        contender === "floor" && operation === row.operation && descriptors === row.descriptors,
    );
  return rows.map((row) => ({ ...row, ratio: row.p50 / floorOf(row).p50 }));
}

/** Whether berthd keeps its promise; undefined if that was not measured. */
export function judge(rows) {
  const row = rows.find(
    ({ operation, descriptors, contender }) =>
      contender === "berthd" && operation === operations.hold && descriptors === 1,
  );
  return row && { limit: TARGET, ratio: row.ratio, met: row.ratio <= TARGET };
}

function verdict({ limit, ratio, met }) {
  const times = (number) => `${number.toFixed(2)} × the floor`;
  return `berthd is ${met ? "within" : "NOT within"} the target: ${times(ratio)} for acquire with 1 fd, at most ${times(limit)}`;
}

/** When and on what a result was measured, in one line. */
export function machineLine({ machine: { kernel, cpu, cores, node, load }, date }) {
  return `${date}: Linux ${kernel}, ${cpu}, ${cores} cores, Node ${node}, load ${load.toFixed(2)}`;
}

/** The lines above a table: {@link machineLine}, and of how many rounds it is, where everything ran on one core. */
export function pinnedHead(result, ...more) {
  const { machine, rounds } = result;
  const of = rounds === 1 ? "1 round" : `medians of ${rounds} rounds`;
  return `${machineLine(result)}\n${[`everything pinned to core ${machine.core}`, of, ...more].join("; ")}`;
}

/** What `npm run bench` says of a result. */
export function callsText({ replyBytes, rows, target, ...result }) {
  const replies = Object.entries(replyBytes).map(([count, bytes]) => `${bytes} bytes with ${count} fd`);
  const head = pinnedHead(result, `replies of floor and berthd: ${replies.join(", ")}`);
  return [head, table(rows), ...(target === undefined ? [] : [verdict(target)])].join("\n\n");
}

/** The rows for people, a blank line between the cases. */
function table(rows) {
  const header = ["operation", "fds", "contender", "p50 µs", "p99 µs", "rate/s", "ratio"];
  const lines = rows.map(({ operation, descriptors, contender, p50, p99, rate, ratio }) => [
    operation,
    String(descriptors),
    contender,
    p50.toFixed(2),
    p99.toFixed(2),
    rate.toFixed(0),
    ratio.toFixed(2),
  ]);
  return columns(header, lines, [0, 2], 2);
}

/**
 * Lines under a header; columns not in `texts` are numbers, and a blank line goes before each new first `keys` cells.
 */
export function columns(header, lines, texts, keys) {
  const widths = header.map((_, column) => Math.max(...[header, ...lines].map((line) => line[column].length)));
  const format = (line) =>
    line
      .map((cell, column) => (texts.includes(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join("  ")
      .trimEnd();
  const body = lines.flatMap((line, index) => {
    const previous = lines[index - 1];
    const isNewCase = previous === undefined || previous.slice(0, keys).some((cell, column) => cell !== line[column]);
    return isNewCase ? ["", format(line)] : [format(line)];
  });
  return [format(header), ...body].join("\n");
}
