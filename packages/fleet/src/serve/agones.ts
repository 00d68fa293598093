/**
 * GameServerAllocation of Agones (allocation.agones.dev/v1), as Kubernetes and as the allocator service of Agones have
 * it: what it asks for, and how it is answered. Pure. What we cannot do is refused and not left out.
 */
import type { Fault } from "../fault.ts";
import type { Allocated } from "../fleet/allocation/allocate.ts";
import { Fields, invalid, jsonObject, list, type Reader, table, text } from "../model/fields.ts";
import { labelName, labelValue, setName } from "../model/names.ts";
import { MOST_PLAYERS } from "../model/placement.ts";

/** One of the things that a caller would take, the first that there is. */
export interface Selector {
  readonly set: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly players: number | undefined;
  readonly from: "ready" | "shared";
}

/** What the berths of a set are called in Agones. */
const FLEET = "agones.dev/fleet";
const MOST_SELECTORS = 16;
const word = text(/^[^\0]*$/, "a text");

/** The `spec` of a GameServerAllocation, or an AllocationRequest. Throws INVALID_RECORD. */
export function selectorsOf(value: unknown, at: string): readonly Selector[] {
  const fields = new Fields(value, at);
  for (const ignored of ["namespace", "scheduling"]) fields.or(ignored, word, undefined);
  for (const other of ["metadata", "metaPatch", "counters", "lists"]) fields.or(other, nothing, undefined);
  fields.or("multiClusterSetting", oneCluster, undefined);
  const required =
    fields.or("required", optional, undefined) ?? fields.or("requiredGameServerSelector", optional, undefined);
  const preferred =
    fields.or("preferred", list(selector), undefined) ??
    fields.or("preferredGameServerSelectors", list(selector), undefined);
  const selectors =
    fields.or("selectors", list(selector), undefined) ?? fields.or("gameServerSelectors", list(selector), undefined);
  fields.refuseOthers();
  const all = selectors ?? [...(preferred ?? []), ...(required === undefined ? [] : [required])];
  if (all.length === 0) throw invalid(at, `has no selector: name a set as matchLabels: { "${FLEET}": SET }`);
  if (all.length > MOST_SELECTORS) throw invalid(at, `has more than ${MOST_SELECTORS} selectors`);
  return all;
}

const selector: Reader<Selector> = (value, at) => {
  const fields = new Fields(value, at);
  const none: Readonly<Record<string, string>> = {};
  const { [FLEET]: set, ...labels } = fields.or("matchLabels", table(labelName, labelValue), none);
  if (set === undefined) throw invalid(`${at}: matchLabels`, `${FLEET} is missing: the name of a set`);
  const state = fields.or("gameServerState", word, "Ready").toLowerCase();
  const players = fields.or("players", playersOf, undefined);
  fields.refuseOthers();
  if (state !== "ready" && state !== "allocated") throw invalid(at, `gameServerState must be "Ready" or "Allocated"`);
  if (state === "allocated" && players === undefined)
    throw invalid(at, `gameServerState "Allocated" needs players.minAvailable: how many are to join`);
  return {
    set: setName(set, `${at}: matchLabels.${FLEET}`),
    labels,
    players,
    from: state === "ready" ? "ready" : "shared",
  };
};

/** Clients in Go write what they leave out as an empty object. */
const optional: Reader<Selector | undefined> = (value, at) => (isEmpty(value) ? undefined : selector(value, at));

const nothing: Reader<undefined> = (value, at) => {
  if (!isEmpty(value)) throw invalid(at, "cannot be used here");
};

const oneCluster: Reader<undefined> = (value, at) => {
  const isOther = new Fields(value, at).or("enabled", (one) => one === true, false);
  if (isOther) throw invalid(at, "there is one fleet, and no other cluster");
};

function isEmpty(value: unknown): boolean {
  return value === null || (typeof value === "object" && Object.keys(value).length === 0);
}

const playersOf: Reader<number> = (value, at) => {
  const fields = new Fields(value, at);
  const players = fields.get("minAvailable", count);
  fields.refuseOthers();
  return players;
};

/** uint64 is a text in the JSON of gRPC. */
const count: Reader<number> = (value, at) => {
  const number = typeof value === "string" && /^\d{1,7}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number) && number >= 1 && number <= MOST_PLAYERS) return number;
  throw invalid(at, `must be an integer from 1 to ${MOST_PLAYERS}`);
};

/** A GameServerAllocation of Kubernetes, taken apart. Throws INVALID_RECORD. */
export function allocationIn(value: unknown): { readonly selectors: readonly Selector[]; readonly spec: object } {
  const fields = new Fields(value, "GameServerAllocation");
  fields.or("apiVersion", text(/^allocation\.agones\.dev\/v1$/, "allocation.agones.dev/v1"), undefined);
  fields.or("kind", text(/^GameServerAllocation$/, "GameServerAllocation"), undefined);
  for (const ignored of ["metadata", "status"]) fields.or(ignored, () => undefined, undefined);
  const spec = fields.get("spec", jsonObject);
  fields.refuseOthers();
  return { selectors: selectorsOf(spec, "spec"), spec };
}

/** The GameServerAllocation that answers one. */
export function allocationOf(
  spec: object,
  namespace: string,
  became: Allocated | "UnAllocated" | "Contention",
  now: string,
): object {
  const status = typeof became === "string" ? { state: became } : { state: "Allocated", ...serverOf(became) };
  const name = typeof became === "string" ? "" : became.berth;
  return {
    kind: "GameServerAllocation",
    apiVersion: "allocation.agones.dev/v1",
    metadata: { name, namespace, creationTimestamp: now },
    spec,
    status,
  };
}

/** An AllocationResponse. */
export function serverOf({ berth, set, host, ports, addresses }: Allocated): object {
  const [address = host] = addresses;
  return {
    gameServerName: berth,
    ports: Object.entries(ports).map(([name, port]) => ({ name, port })),
    address,
    addresses: addresses.map((one) => ({ type: /^[\d.]+$|:/.test(one) ? "ExternalIP" : "Hostname", address: one })),
    nodeName: host,
    source: "local",
    metadata: { labels: { [FLEET]: set }, annotations: {} },
  };
}

/** How the allocator service of Agones says why there is none: the code of gRPC, and that of HTTP. */
export function statusOf(error: Fault): { readonly http: number; readonly grpc: number } {
  switch (error.code) {
    case "NONE_READY":
      return { http: 429, grpc: 8 };
    case "CONTENDED":
      return { http: 409, grpc: 10 };
    case "INVALID_RECORD":
    case "USAGE":
      return { http: 400, grpc: 3 };
    default:
      return { http: 503, grpc: 14 };
  }
}
