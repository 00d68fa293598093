/** `berth-fleet agent`. */
import { hostname, totalmem } from "node:os";
import { posix } from "node:path";
import { type AgentOptions, type FilesOptions, runAgent } from "../agent/agent.ts";
import { defaultConfigFolders } from "../agent/berth-files.ts";
import { describeHost, type HostOptions } from "../agent/describe.ts";
import type { Rules } from "../agent/rules/rules.ts";
import { Fault } from "../fault.ts";
import { hostRecord, storeAddress } from "../model/host.ts";
import { parsePortRange } from "../model/ports.ts";
import {
  type CommonValues,
  commonFlags,
  endpointsOf,
  openFleet,
  parse,
  parseBytes,
  parseLabel,
  parseSeconds,
  sayer,
  tlsOf,
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
  "state-socket": { type: "string" },
  store: { type: "string" },
  "store-size": { type: "string" },
  "store-listen": { type: "string" },
  insecure: { type: "boolean" },
} as const;

/** Runs until a signal. */
export async function agentCommand(args: readonly string[]): Promise<string> {
  const { values } = parse(args, flags, false);
  if (values.help) return agentUsage;
  if (values.folder === undefined) throw new Fault("USAGE", "--folder is missing: the broker's folder for the fleet");
  const files = filesOf(values);
  const host: HostOptions = {
    name: values.name ?? hostname().split(".")[0] ?? "",
    addresses: values.address ?? [],
    pools: (values.ports ?? []).map((range) => parsePortRange(range, "--ports")),
    memory: values.memory === undefined ? totalmem() : parseBytes(values.memory, "--memory"),
    labels: Object.fromEntries((values.label ?? []).map(parseLabel)),
    taints: values.taint ?? [],
    store: files && values["store-listen"],
  };
  // The agent refuses a wrong option at its start; otherwise the readers of its record would.
  const describe: AgentOptions["describe"] = (own, stock) => hostRecord(describeHost(host, own, stock), "this host");
  describe([], undefined);
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
    { host: host.name, folder, socket, config, ttl, margin, rules, files, describe, say },
    stop.signal,
  );
  return "";
}

interface FilesValues extends CommonValues {
  readonly "state-socket"?: string | undefined;
  readonly store?: string | undefined;
  readonly "store-size"?: string | undefined;
  readonly "store-listen"?: string | undefined;
}

/** What the agent needs to move files; undefined: it moves none. Throws USAGE if a part of it is missing. */
function filesOf(values: FilesValues): FilesOptions | undefined {
  const { "state-socket": stateSocket, store: folder, "store-listen": listen, "store-size": size = "16G" } = values;
  if (stateSocket === undefined && folder === undefined && listen === undefined) return undefined;
  const tls = tlsOf(values);
  if (stateSocket === undefined || folder === undefined || listen === undefined || !tls?.cert || !tls.key)
    throw new Fault("USAGE", "--state-socket, --store and --store-listen go together, and need --ca, --cert and --key");
  absolute([stateSocket], "--state-socket");
  absolute([folder], "--store");
  const { hostname, port } = new URL(`https://${storeAddress(listen, "--store-listen")}`);
  if (ANYWHERE.has(hostname))
    throw new Fault("USAGE", `--store-listen ${listen} is no address that other hosts can connect to`);
  return {
    ...{ stateSocket, folder, mostBytes: parseBytes(size, "--store-size") },
    listen: { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port || 443) },
    tls: { ca: tls.ca, cert: tls.cert, key: tls.key },
  };
}

const ANYWHERE: ReadonlySet<string> = new Set(["0.0.0.0", "[::]"]);

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
