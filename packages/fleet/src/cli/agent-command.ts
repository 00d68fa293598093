/** `berth-fleet agent`. */
import { hostname, totalmem } from "node:os";
import { posix } from "node:path";
import { runAgent } from "../agent/agent.ts";
import { defaultConfigFolders } from "../agent/berth-files.ts";
import { describeHost, type HostOptions } from "../agent/describe.ts";
import type { Rules } from "../agent/rules/rules.ts";
import { Fault } from "../fault.ts";
import { hostRecord } from "../model/host.ts";
import { parsePortRange } from "../model/ports.ts";
import {
  commonFlags,
  endpointsOf,
  openFleet,
  parse,
  parseBytes,
  parseLabel,
  parseSeconds,
  sayer,
  untilSignal,
} from "./common.ts";
import { agentUsage } from "./usage.ts";

const flags = {
  ...commonFlags,
  folder: { type: "string" },
  socket: { type: "string" },
  config: { type: "string", multiple: true },
  name: { type: "string" },
  address: { type: "string", multiple: true },
  ports: { type: "string", multiple: true },
  memory: { type: "string" },
  label: { type: "string", multiple: true },
  taint: { type: "string", multiple: true },
  ttl: { type: "string" },
  margin: { type: "string" },
  "allow-user": { type: "string", multiple: true },
  "allow-command": { type: "string", multiple: true },
  "allow-key": { type: "string", multiple: true },
  "allow-socket": { type: "string", multiple: true },
  "allow-port": { type: "string", multiple: true },
  insecure: { type: "boolean" },
} as const;

/** Runs until a signal. */
export async function agentCommand(args: readonly string[]): Promise<string> {
  const { values } = parse(args, flags, false);
  if (values.help) return agentUsage;
  if (values.folder === undefined) throw new Fault("USAGE", "--folder is missing: the broker's folder for the fleet");
  const host: HostOptions = {
    name: values.name ?? hostname().split(".")[0] ?? "",
    addresses: values.address ?? [],
    pools: (values.ports ?? []).map((range) => parsePortRange(range, "--ports")),
    memory: values.memory === undefined ? totalmem() : parseBytes(values.memory, "--memory"),
    labels: Object.fromEntries((values.label ?? []).map(parseLabel)),
    taints: values.taint ?? [],
  };
  // The agent refuses a wrong option at its start; otherwise the readers of its record would.
  const describe = (own: Parameters<typeof describeHost>[1]) => hostRecord(describeHost(host, own), "this host");
  describe([]);
  const ttl = parseSeconds(values.ttl ?? "10", "--ttl", 2);
  const margin = parseSeconds(values.margin ?? "5", "--margin", 0);
  const rules: Rules = {
    users: values["allow-user"] ?? [],
    commands: absolute(values["allow-command"] ?? [], "--allow-command"),
    keys: values["allow-key"] ?? [],
    sockets: absolute(values["allow-socket"] ?? [], "--allow-socket").map((path) => posix.resolve(path)),
    ports: [...host.pools, ...(values["allow-port"] ?? []).map((range) => parsePortRange(range, "--allow-port"))],
  };
  if (!values.insecure) refusePlain(endpointsOf(values));
  const say = sayer(values);
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  const { folder, socket, config = defaultConfigFolders() } = values;
  await runAgent(
    etcd,
    keys,
    { host: host.name, folder, socket, config, ttl, margin, rules, describe, say },
    stop.signal,
  );
  return "";
}

/** Throws USAGE if one of the paths is not absolute. */
function absolute(paths: readonly string[], option: string): readonly string[] {
  const relative = paths.find((path) => !path.startsWith("/"));
  if (relative !== undefined) throw new Fault("USAGE", `${option} ${relative} is no absolute path`);
  return paths;
}

/**
 * What answers there decides what root runs on this host. Without TLS that may be a program of any local user
 * (test/fleet/command-line.test.ts). Throws USAGE.
 */
function refusePlain(endpoints: readonly string[]): void {
  const plain = endpoints.find((one) => !one.startsWith("https:"));
  if (plain === undefined) return;
  throw new Fault(
    "USAGE",
    `--etcd ${plain} is not encrypted: a program that listens there can run commands as root on this host; ` +
      "use https:// with --ca, or --insecure for a test",
  );
}
