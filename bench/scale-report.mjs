/** What the brokers of `npm run bench:scale` took. Pure: numbers in, text out. */
import { columns, machineLine } from "./report.mjs";

/** The rows for people, a blank line between the sizes. */
export function scaleText({ machine, date, reloads, rows }) {
  const header = ["berths", "on", "start ms", "check ms", "RSS MiB", "reload ms", "stall ms", "RSS after"];
  const lines = rows.map(({ berths, way, start, check, memory, reload, stall, after }) => [
    String(berths),
    way,
    ...[start, check, memory, reload, stall, after].map((number) => number.toFixed(0)),
  ]);
  const about = `${reloads} reloads of each broker; one berth has changed at each`;
  return `${machineLine({ machine, date })}, brokers pinned to core ${machine.core}\n${about}\n\n${columns(header, lines, [1], 1)}`;
}
