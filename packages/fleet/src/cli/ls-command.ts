/** `berth-fleet ls`: hosts, berths and sets as tables. */
import { Fault } from "../fault.ts";
import { Fleet } from "../fleet/fleet.ts";
import { berthRow, stateWord } from "../fleet/rows.ts";
import { bookingsOf, type FleetView, readable } from "../fleet/view.ts";
import { type BerthReport, berthReport } from "../model/berth-report.ts";
import { type Allocation, allocation } from "../model/placement.ts";
import { memoryLeft } from "../placement/need.ts";
import { commonFlags, openFleet, parse, portsText, table } from "./common.ts";
import { printable } from "./printable.ts";
import { lsUsage } from "./usage.ts";

export async function lsCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return lsUsage;
  const [what = "berths", ...others] = positionals;
  const list = lists.get(what);
  if (list === undefined || others.length > 0) throw new Fault("USAGE", "ls lists hosts, berths or sets");
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  const view = await new Fleet(etcd, keys).view();
  const { lists: found } = await etcd.read({ prefix: keys.all("state") }, { prefix: keys.all("allocation") });
  const warn = (problem: string): void => console.error("berth-fleet: %s", printable(problem));
  view.problems.forEach(warn);
  const states = found[0].filter(({ key }) => keys.read(key)?.kind === "state");
  const reports = states.flatMap(({ key, value }) => readable(key, value, berthReport, warn) ?? []);
  const allocations = found[1].flatMap(({ key, value }) => readable(key, value, allocation, warn) ?? []);
  const seen: Seen = {
    reports: new Map(reports.map((one) => [`${one.berth} ${one.generation}`, one])),
    allocations: new Map(allocations.map((one) => [one.berth, one])),
  };
  const { rows, head, cells } = list(view, seen);
  return values.json ? `${JSON.stringify(rows)}\n` : table(head, cells);
}

interface Listed {
  readonly rows: readonly unknown[];
  readonly head: readonly string[];
  readonly cells: readonly (readonly string[])[];
}

interface Seen {
  /** By berth and generation. */
  readonly reports: ReadonlyMap<string, BerthReport>;
  readonly allocations: ReadonlyMap<string, Allocation>;
}

type List = (view: FleetView, seen: Seen) => Listed;

const lists: ReadonlyMap<string, List> = new Map([
  ["hosts", listHosts],
  ["berths", listBerths],
  ["sets", listSets],
]);

function listHosts(view: FleetView): Listed {
  const names = new Set([...view.hosts.keys(), ...[...view.placements.values()].map(({ record }) => record.host)]);
  const rows = [...names].sort().map((name) => {
    const bookings = bookingsOf(view, name).record;
    const host = view.hosts.get(name) ?? null;
    const memory = host && memoryLeft({ host, bookings });
    const cordoned = view.cordons.has(name);
    return {
      name,
      present: host !== null,
      cordoned,
      berths: Object.keys(bookings.berths).length,
      memoryLeft: memory,
      host,
    };
  });
  const cells = rows.map(({ name, present, cordoned, berths, memoryLeft: left, host }) => [
    ...[
      name,
      `${present ? "present" : "gone"}${cordoned ? ", closed" : ""}`,
      String(berths),
      left === null ? "-" : `${Math.floor(left / 2 ** 20)} MiB`,
    ],
    Object.entries(host?.labels ?? {})
      .map(([label, value]) => `${label}=${value}`)
      .join(" "),
  ]);
  return { rows, head: ["HOST", "STATE", "BERTHS", "MEMORY LEFT", "LABELS"], cells };
}

function listBerths(view: FleetView, seen: Seen): Listed {
  const rows = [...view.placements.values()].map(({ record }) => {
    const report = seen.reports.get(`${record.berth} ${record.generation}`);
    return berthRow(record, view.hosts.get(record.host), report, seen.allocations.get(record.berth));
  });
  const cells = rows.map((row) => [
    ...[row.berth, row.host, stateWord(row), row.players === null ? "-" : String(row.players)],
    portsText(row.ports, row.addresses[0] ?? row.host) || "-",
    (row.why ?? "").split("\n")[0] ?? "",
  ]);
  return { rows, head: ["BERTH", "HOST", "STATE", "PLAYERS", "PORTS", "WHY"], cells };
}

function listSets(view: FleetView): Listed {
  const placed = (name: string): number =>
    [...view.placements.values()].filter(({ record }) => record.set === name).length;
  const rows = [...view.sets.values()].map(({ record }) => ({ ...record, placed: placed(record.name) }));
  const cells = rows.map((set) => [set.name, `${set.placed} of ${set.count}`, set.strategy, set.onLost]);
  return { rows, head: ["SET", "PLACED", "STRATEGY", "ON LOST"], cells };
}
