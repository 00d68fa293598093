/** `berth-fleet apply`, `place`, `rm` and `ls`. Each returns what it prints. */
import { parse as parseToml } from "smol-toml";
import { Fault } from "../fault.ts";
import { isOf } from "../fleet/allocate.ts";
import { Fleet, type Outcome } from "../fleet/fleet.ts";
import { bookingsOf, type FleetView, readable } from "../fleet/view.ts";
import { type BerthReport, berthReport } from "../model/berth-report.ts";
import { type BerthSet, berthSet } from "../model/berth-set.ts";
import { allocation } from "../model/placement.ts";
import { memoryLeft } from "../placement/need.ts";
import { commonFlags, openFleet, type Printed, parse, portsText, readText, table } from "./common.ts";
import { applyUsage, lsUsage, placeUsage, rmUsage } from "./usage.ts";

export async function applyCommand(args: readonly string[]): Promise<Printed | string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return applyUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "apply needs a file; see berth-fleet apply --help");
  const sets = positionals.map(readSet);
  return await withFleet(values, async (fleet) => {
    const outcomes: Outcome[] = [];
    for (const set of sets) outcomes.push(...(await fleet.apply(set)));
    return printOutcomes(outcomes, values.json);
  });
}

export async function placeCommand(args: readonly string[]): Promise<Printed | string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return placeUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "place needs a set; see berth-fleet ls sets");
  return await withFleet(values, async (fleet) => {
    const outcomes: Outcome[] = [];
    for (const name of positionals) outcomes.push(...(await fleet.place(name)));
    return printOutcomes(outcomes, values.json);
  });
}

export async function rmCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return rmUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "rm needs a set; see berth-fleet ls sets");
  return await withFleet(values, async (fleet) => {
    const removed = [];
    for (const name of positionals) removed.push(...(await fleet.remove(name)));
    if (values.json) return json(removed);
    return removed.map(({ berth, host }) => `${berth}: removed from ${host}\n`).join("");
  });
}

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
  const warn = (problem: string): void => console.error("berth-fleet: %s", problem);
  view.problems.forEach(warn);
  const reports = found[0].flatMap(({ key, value }) => readable(key, value, berthReport, warn) ?? []);
  const allocations = found[1].flatMap(({ key, value }) => readable(key, value, allocation, warn) ?? []);
  const seen = new Map(
    reports.map((report) => [
      `${report.berth} ${report.generation}`,
      { report, isAllocated: allocations.some((one) => isOf(one, report)) },
    ]),
  );
  const { rows, head, cells } = list(view, seen);
  return values.json ? json(rows) : table(head, cells);
}

interface Listed {
  readonly rows: readonly unknown[];
  readonly head: readonly string[];
  readonly cells: readonly (readonly string[])[];
}

/** By berth and generation. */
type Seen = ReadonlyMap<string, { readonly report: BerthReport; readonly isAllocated: boolean }>;

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
    const { report, isAllocated = false } = seen.get(`${record.berth} ${record.generation}`) ?? {};
    const addresses = view.hosts.get(record.host)?.addresses ?? [];
    const { state = null, why = null, players = null } = report ?? {};
    return { ...record, addresses, state, why, players, allocated: isAllocated };
  });
  const cells = rows.map(({ berth, host, addresses, ports, state, players, why, allocated }) => [
    ...[berth, host, allocated ? "allocated" : (state ?? "unknown"), players === null ? "-" : String(players)],
    portsText(ports, addresses[0] ?? host) || "-",
    (why ?? "").split("\n")[0] ?? "",
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

function printOutcomes(outcomes: readonly Outcome[], asJson: boolean | undefined): Printed {
  const refused = outcomes.some(({ explanation }) => explanation.host === undefined);
  if (asJson) return { text: json(outcomes.map(({ berth, explanation }) => ({ berth, ...explanation }))), refused };
  const text = outcomes.map(({ berth, explanation: { host, others } }) => {
    const head = host === undefined ? `${berth}: no host can have it\n` : `${berth}: on ${host}\n`;
    const none =
      host === undefined && others.length === 0 ? "  there is no host: start berth-fleet agent on one\n" : "";
    return head + none + others.map((other) => `  not ${other.host}: ${other.why}\n`).join("");
  });
  return { text: text.join(""), refused };
}

async function withFleet<T>(values: Parameters<typeof openFleet>[0], action: (fleet: Fleet) => Promise<T>): Promise<T> {
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  return await action(new Fleet(etcd, keys));
}

function readSet(path: string): BerthSet {
  const text = readText(path);
  let value: unknown;
  try {
    value = parseToml(text);
  } catch (error) {
    throw new Fault("INVALID_RECORD", `${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  return berthSet(value, path);
}

function json(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
