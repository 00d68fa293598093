/** A host as its agent describes it. */
import { Fields, integer, invalid, list, type Reader, table, text } from "./fields.ts";
import { digest, hostName, imageName, imageVersionName, labelName, labelValue, taintName } from "./names.ts";
import { type PortRange, port, portRange } from "./ports.ts";

export interface HostImage {
  readonly name: string;
  readonly version?: string;
  readonly digest: string;
  /** Of its files. */
  readonly bytes?: number;
}

/** A version of an image, and which tree that is. */
export type ImageTree = Required<HostImage>;

export interface HostRecord {
  readonly name: string;
  /** What players connect to: addresses or names, the first one preferred. */
  readonly addresses: readonly string[];
  /** Ports that berths get when they leave the choice to the fleet. */
  readonly pools: readonly PortRange[];
  /** Ports on which other programs of the host listen. */
  readonly busy: readonly number[];
  readonly cores: number;
  /** Bytes for all berths of the fleet together. */
  readonly memory: number;
  readonly labels: Readonly<Record<string, string>>;
  /** A berth comes here only if its set tolerates each of them. */
  readonly taints: readonly string[];
  readonly images: readonly HostImage[];
  /** `images` is complete. Absent: the agent does not know which images its host has. */
  readonly listsImages?: true;
  /** Bytes for images that are not there yet. */
  readonly imageRoom: number;
  /** ADDRESS:PORT of the store of its agent. Absent: berths do not take their files here, or away from here. */
  readonly store?: string;
  /** From /proc/sys/kernel/random/boot_id: another one means that the host was restarted. */
  readonly bootId: string;
  /** The version of its berthd. */
  readonly version: string;
}

export const bytes: Reader<number> = integer(0, Number.MAX_SAFE_INTEGER);
const address = text(/^[A-Za-z0-9.:_-]{1,253}$/, "an address or a host's name");
export const storeAddress: Reader<string> = text(
  /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[1-9]\d{0,4}$/,
  "ADDRESS:PORT",
);
const word = text(/^[\x21-\x7e]{1,128}$/, "a word");

export const hostRecord: Reader<HostRecord> = (value, at) => {
  const fields = new Fields(value, at);
  const store = fields.or("store", storeAddress, undefined);
  const listsImages = fields.or("listsImages", isTrue, false);
  return {
    name: fields.get("name", hostName),
    addresses: fields.get("addresses", list(address)),
    pools: fields.get("pools", list(portRange)),
    busy: fields.or("busy", list(port), []),
    cores: fields.get("cores", integer(1, 65_536)),
    memory: fields.get("memory", bytes),
    labels: fields.or("labels", table(labelName, labelValue), {}),
    taints: fields.or("taints", list(taintName), []),
    images: fields.or("images", list(hostImage), []),
    ...(listsImages && { listsImages }),
    imageRoom: fields.or("imageRoom", bytes, 0),
    ...(store !== undefined && { store }),
    bootId: fields.get("bootId", word),
    version: fields.get("version", word),
  };
};

export const imageTree: Reader<ImageTree> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    name: fields.get("name", imageName),
    version: fields.get("version", imageVersionName),
    digest: fields.get("digest", digest),
    bytes: fields.get("bytes", bytes),
  };
};

const isTrue: Reader<true> = (value, at) => {
  if (value !== true) throw invalid(at, "must be true or absent");
  return value;
};

const hostImage: Reader<HostImage> = (value, at) => {
  const fields = new Fields(value, at);
  const version = fields.or("version", imageVersionName, undefined);
  const size = fields.or("bytes", bytes, undefined);
  return {
    name: fields.get("name", imageName),
    ...(version !== undefined && { version }),
    digest: fields.get("digest", digest),
    ...(size !== undefined && { bytes: size }),
  };
};
