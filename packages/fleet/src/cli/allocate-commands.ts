/** `berth-fleet allocate` and `release`. Each returns what it prints. */
import { Fault } from "../fault.ts";
import { allocate, release } from "../fleet/allocation/allocate.ts";
import { integer } from "../model/fields.ts";
import { MOST_PLAYERS } from "../model/placement.ts";
import { commonFlags, openFleet, parse, parseLabel, portsText } from "./common.ts";
import { allocateUsage, releaseUsage } from "./usage.ts";

const flags = { ...commonFlags, label: { type: "string", multiple: true }, players: { type: "string" } } as const;

export async function allocateCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, flags, true);
  if (values.help) return allocateUsage;
  const [set, ...others] = positionals;
  if (set === undefined || others.length > 0)
    throw new Fault("USAGE", "allocate needs one set; see berth-fleet ls sets");
  const labels = Object.fromEntries((values.label ?? []).map(parseLabel));
  const players = values.players === undefined ? undefined : parseCount(values.players, "--players");
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  const allocated = await allocate(etcd, keys, set, { labels, players });
  if (values.json) return `${JSON.stringify(allocated)}\n`;
  const { berth, host, ports, addresses } = allocated;
  return `${berth} ${portsText(ports, addresses[0] ?? host)}`.trimEnd().concat("\n");
}

export async function releaseCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return releaseUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "release needs a berth; see berth-fleet ls");
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  for (const berth of positionals) await release(etcd, keys, berth);
  return values.json ? `${JSON.stringify(positionals)}\n` : "";
}

function parseCount(text: string, option: string): number {
  return integer(1, MOST_PLAYERS)(/^\d+$/.test(text) ? Number(text) : text, option);
}
