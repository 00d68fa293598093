/** `berth-fleet move`, `drain`, `cordon` and `uncordon`. Each returns what it prints. */
import type { EtcdClient } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { sentText } from "../fleet/moves/copied-text.ts";
import { cordonHost, uncordonHost } from "../fleet/moves/cordon.ts";
import { type Drained, drainHost } from "../fleet/moves/drain.ts";
import { moveBerth } from "../fleet/moves/move.ts";
import { readFleet } from "../fleet/view.ts";
import type { Keys } from "../model/keys.ts";
import { commonFlags, openFleet, type Printed, parse, parseDeadline, portsText, untilSignal } from "./common.ts";
import { printable } from "./printable.ts";
import { cordonUsage, drainUsage, moveUsage, uncordonUsage } from "./usage.ts";

const moveFlags = {
  ...commonFlags,
  to: { type: "string" },
  deadline: { type: "string" },
  "when-empty": { type: "boolean" },
  "without-files": { type: "boolean" },
} as const;

const { to: _, ...withoutTo } = moveFlags;
const drainFlags = { ...withoutTo, stop: { type: "boolean" }, cancel: { type: "boolean" } } as const;

const DEFAULT_DEADLINE_SECONDS = 30 * 60;

interface MoveValues {
  readonly deadline?: string | undefined;
  readonly "when-empty"?: boolean | undefined;
  readonly "without-files"?: boolean | undefined;
  readonly json?: boolean | undefined;
}

export async function moveCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, moveFlags, true);
  if (values.help) return moveUsage;
  const [berth, ...others] = positionals;
  if (berth === undefined || others.length > 0) throw new Fault("USAGE", "move needs one berth; see berth-fleet ls");
  const options = moveOptions(values);
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  const { to } = values;
  const { from, placement, sent, downMs } = await moveBerth(etcd, keys, berth, { ...options, to, signal: stop.signal });
  const addresses = (await readFleet(etcd, keys)).hosts.get(placement.host)?.addresses ?? [];
  if (values.json) return `${JSON.stringify({ ...placement, from, addresses, sent: sent ?? null, downMs })}\n`;
  const ports = portsText(placement.ports, addresses[0] ?? placement.host);
  const took = sent === undefined ? "" : `${sentText(sent)}\nwithout a server for ${(downMs / 1000).toFixed(1)} s\n`;
  return `${berth}: moved from ${from} to ${placement.host} ${ports}`.trimEnd().concat("\n", took);
}

export async function drainCommand(args: readonly string[]): Promise<Printed | string> {
  const { values, positionals } = parse(args, drainFlags, true);
  if (values.help) return drainUsage;
  const [host, ...others] = positionals;
  if (host === undefined || others.length > 0)
    throw new Fault("USAGE", "drain needs one host; see berth-fleet ls hosts");
  if (values.cancel) return await withHosts(values, [host], open);
  const options = moveOptions(values);
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  const drained = await drainHost(etcd, keys, host, { ...options, stop: values.stop ?? false, signal: stop.signal });
  const refused = drained.some(({ done }) => done === "stays");
  if (values.json) return { text: `${JSON.stringify(drained)}\n`, refused };
  return { text: summary(host, drained), refused };
}

export async function cordonCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return cordonUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "cordon needs a host; see berth-fleet ls hosts");
  return await withHosts(values, positionals, async (etcd, keys, host) => {
    await cordonHost(etcd, keys, host);
    return `${host}: closed to new berths; to open it: berth-fleet uncordon ${host}\n`;
  });
}

export async function uncordonCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return uncordonUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "uncordon needs a host; see berth-fleet ls hosts");
  return await withHosts(values, positionals, open);
}

async function open(etcd: EtcdClient, keys: Keys, host: string): Promise<string> {
  const started = await uncordonHost(etcd, keys, host);
  return `${host}: open to new berths${started.length > 0 ? `; ${started.join(", ")} start again` : ""}\n`;
}

type OfHost = (etcd: EtcdClient, keys: Keys, host: string) => Promise<string>;

async function withHosts(
  values: Parameters<typeof openFleet>[0] & { readonly json?: boolean | undefined },
  hosts: readonly string[],
  action: OfHost,
): Promise<string> {
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  let text = "";
  for (const host of hosts) text += await action(etcd, keys, host);
  return values.json ? `${JSON.stringify(hosts)}\n` : text;
}

function moveOptions(values: MoveValues) {
  if (values["when-empty"] && values.deadline !== undefined)
    throw new Fault("USAGE", "--when-empty and --deadline exclude each other");
  const deadline =
    values.deadline === undefined ? DEFAULT_DEADLINE_SECONDS : parseDeadline(values.deadline, "--deadline");
  const say = (sentence: string): void => {
    if (!values.json) console.error("berth-fleet: %s", printable(sentence));
  };
  return { within: values["when-empty"] ? undefined : deadline, withoutFiles: values["without-files"], say };
}

function summary(host: string, drained: readonly Drained[]): string {
  const count = (done: Drained["done"]): number => drained.filter((one) => one.done === done).length;
  const [moved, stopped, stays] = [count("moved"), count("stopped"), count("stays")];
  const hint = stays > 0 ? "; to stop those that cannot move: berth-fleet drain --stop" : "";
  return (
    `${host}: closed to new berths; ${moved} moved, ${stopped} stopped, ${stays} stay${hint}\n` +
    `to open it: berth-fleet uncordon ${host}\n`
  );
}
