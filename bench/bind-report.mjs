/** What the rounds of `npm run bench:bind` come to. Pure: numbers in, text out. */
import { columns, median, pinnedHead } from "./report.mjs";

const titles = {
  first: "first bind",
  next: "further binds",
  firstset: "first bind, options set",
  nextset: "further binds, options set",
  bind: "socket + bind + close",
  udp: "datagram there and back",
  tcp: "stream",
};

/** The cases that are binds: the C responder's time is their floor. */
const binds = ["first", "next", "firstset", "nextset", "bind"];
const floor = "C responder";

/**
 * Results as {@link summariseBind} takes them, of servers that were started again and again: in `rounds`, for each
 * contender, `starts` has the nanoseconds of each bind, in order.
 */
export function startsAsRounds(rounds) {
  const contenders = rounds[0].map(({ contender }) => contender);
  const cases = { first: ([first]) => [first], next: ([, ...next]) => next };
  const rows = Object.entries(cases).flatMap(([one, pick]) =>
    contenders.map(({ label, set }, index) => ({
      case: `${one}${set.join("")}`,
      label,
      rounds: rounds.map((round) => summaryOf(round[index].starts.flatMap(pick))),
    })),
  );
  const order = Object.keys(titles);
  return rows.toSorted((a, b) => order.indexOf(a.case) - order.indexOf(b.case));
}

function summaryOf(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const rank = (percent) => sorted[Math.ceil((sorted.length * percent) / 100) - 1];
  return { p50: rank(50), p99: rank(99) };
}

/**
 * One row for each contender, from `results`: { case, label, rounds }, where a round has p50 and p99 in nanoseconds and
 * a rate, or of a stream only a rate in bytes a second. Rows hold microseconds, medians over the rounds; `ratio` is how
 * many times as long it took as with the first contender of the case, and of a bind `toFloor` as with the C responder.
 */
export function summariseBind(results) {
  const rows = results.map(({ case: one, label, rounds }) => ({
    case: one,
    contender: label,
    ...(one === "tcp"
      ? {}
      : { p50: median(rounds.map(({ p50 }) => p50)) / 1000, p99: median(rounds.map(({ p99 }) => p99)) / 1000 }),
    // Of the paced loop of binds the rate says nothing.
    ...(binds.includes(one) ? {} : { rate: median(rounds.map(({ rate }) => rate)) }),
    rounds,
  }));
  return rows.map((row) => {
    const first = rows.find((other) => other.case === row.case);
    const least = rows.find((other) => other.case === row.case && other.contender === floor);
    return {
      ...(least !== undefined && { toFloor: row.p50 / least.p50 }),
      ...row,
      ratio: row.case === "tcp" ? first.rate / row.rate : row.p50 / first.p50,
    };
  });
}

/** The rows for people, a blank line between the cases. */
export function bindText({ rows, ...result }) {
  const header = ["operation", "contender", "p50 µs", "p99 µs", "rate", "", "ratio", "to C"];
  const lines = rows.map(({ case: one, contender, p50, p99, rate, ratio, toFloor }) => [
    titles[one],
    contender,
    p50?.toFixed(2) ?? "",
    p99?.toFixed(2) ?? "",
    rate === undefined ? "" : one === "tcp" ? (rate / 1e6).toFixed(0) : rate.toFixed(0),
    one === "tcp" ? "MB/s" : one === "udp" ? "/s" : "",
    ratio.toFixed(2),
    toFloor?.toFixed(2) ?? "",
  ]);
  return `${pinnedHead(result)}\n\n${columns(header, lines, [0, 1, 5], 1)}`;
}
