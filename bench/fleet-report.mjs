/** What the fleets of `npm run bench:fleet` took. Pure: numbers in, text out. */
import { columns, machineLine } from "./report.mjs";

/** The number of the list that this share of all is not above. */
export function percentile(numbers, share) {
  const sorted = [...numbers].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** The rows for people. */
export function fleetText({ machine, date, rows }) {
  const header = [
    ...["hosts", "berths", "keys", "MB", "placed/s", "read ms", "lag ms", "p99"],
    ...["kept/s", "needed/s", "etcd MiB", "agent MiB"],
  ];
  const lines = rows.map((row) => [
    ...[row.hosts, row.berths, row.keys].map(String),
    (row.bytes / 1e6).toFixed(1),
    ...[row.placements, row.read].map((number) => number.toFixed(0)),
    ...[row.lag, row.lag99].map((number) => number.toFixed(1)),
    ...[row.keepAlives, row.neededKeepAlives, row.etcd, row.agent].map((number) => number.toFixed(0)),
  ]);
  return `${machineLine({ machine, date })}, all on core ${machine.core}, etcd of one member\n\n${columns(header, lines, [], 1)}`;
}
