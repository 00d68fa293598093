/** A set of equal berths that the fleet shall have: what an operator writes. */
import { Fields, integer, type JsonObject, jsonObject, list, oneOf, type Reader, table } from "./fields.ts";
import { bytes } from "./host.ts";
import { digest, imageName, labelName, labelValue, setName, taintName } from "./names.ts";
import { socketPorts } from "./socket-ports.ts";

/** `packed` fills one host after the other; `spread` keeps the berths of a set apart. */
export type Strategy = "packed" | "spread";

/** What becomes of a berth whose host is lost: it stays with the host, or another host gets a new one. */
export type OnLost = "stay" | "replace";

export interface WantedImage {
  readonly name: string;
  /** Of its tree. Absent: any version, and only hosts that have the image are possible. */
  readonly digest?: string;
  /** Bytes, where the hosts that have it do not say. */
  readonly size?: number;
}

export interface BerthSet {
  readonly name: string;
  readonly count: number;
  readonly strategy: Strategy;
  readonly onLost: OnLost;
  /** Labels that the host must have. */
  readonly labels: Readonly<Record<string, string>>;
  /** Taints of hosts that do not matter. */
  readonly tolerates: readonly string[];
  /** Bytes that each berth gets. */
  readonly memory: number;
  readonly image?: WantedImage;
  /** The berth file, as a table. Port 0 in an address means: a port of the host's pools, one for each socket. */
  readonly berth: JsonObject;
}

export const MAX_COUNT = 10_000;

export const berthSet: Reader<BerthSet> = (value, at) => {
  const fields = new Fields(value, at);
  const image = fields.or("image", wantedImage, undefined);
  const set = {
    name: fields.get("name", setName),
    count: fields.or("count", integer(0, MAX_COUNT), 1),
    strategy: fields.or("strategy", oneOf("packed", "spread"), "spread" as const),
    onLost: fields.or("on-lost", oneOf("stay", "replace"), "stay" as const),
    labels: fields.or("labels", table(labelName, labelValue), {}),
    tolerates: fields.or("tolerates", list(taintName), []),
    memory: fields.or("memory", bytes, 0),
    ...(image !== undefined && { image }),
    berth: fields.get("berth", jsonObject),
  };
  fields.refuseOthers();
  socketPorts(set.berth, `${at}: berth`);
  return set;
};

/** As `berthSet` reads it. */
export function writeBerthSet({ onLost, ...set }: BerthSet): string {
  return JSON.stringify({ ...set, "on-lost": onLost });
}

const wantedImage: Reader<WantedImage> = (value, at) => {
  const fields = new Fields(value, at);
  const version = fields.or("digest", digest, undefined);
  const size = fields.or("size", bytes, undefined);
  const name = fields.get("name", imageName);
  fields.refuseOthers();
  return { name, ...(version !== undefined && { digest: version }), ...(size !== undefined && { size }) };
};
