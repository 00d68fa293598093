/** What is known of a version of an image: the file manifest.json beside its tree. Pure. */
import { BerthError } from "../../errors.ts";

/** Where a tree came from. */
export interface ImageSource {
  readonly kind: "directory" | "casync";
  /** The folder, or the index's path or address, as it was written. */
  readonly location: string;
  /** Of the archive, as `casync digest` prints it. */
  readonly digest?: string;
}

export interface Manifest {
  readonly name: string;
  readonly version: string;
  /** Of the whole tree: `sha256:` and 64 hexadecimal digits. Equal trees have equal digests, wherever they are. */
  readonly digest: string;
  /** Files of every kind, folders included. */
  readonly entries: number;
  /** Bytes in regular files, one that has several names once. */
  readonly bytes: number;
  /** How many device nodes its source has and the tree has not, if any. */
  readonly droppedDevices?: number;
  /** When it was imported (ISO 8601). */
  readonly imported: string;
  readonly source: ImageSource;
}

const FORMAT = 1;

export function encodeManifest(manifest: Manifest): string {
  return `${JSON.stringify({ format: FORMAT, ...manifest }, undefined, 1)}\n`;
}

/** Throws STATE_DAMAGED unless it is what {@link encodeManifest} wrote. */
export function decodeManifest(path: string, text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(path);
  }
  if (!isManifest(value)) throw damaged(path);
  const { name, version, digest, entries, bytes, droppedDevices, imported, source } = value;
  const dropped = droppedDevices === undefined ? {} : { droppedDevices };
  return { name, version, digest, entries, bytes, ...dropped, imported, source };
}

function isManifest(value: unknown): value is Manifest {
  if (!isRecord(value) || value["format"] !== FORMAT) return false;
  const source = value["source"];
  return (
    ["name", "version", "digest", "imported"].every((key) => typeof value[key] === "string") &&
    ["entries", "bytes"].every((key) => Number.isSafeInteger(value[key])) &&
    (value["droppedDevices"] === undefined || Number.isSafeInteger(value["droppedDevices"])) &&
    isRecord(source) &&
    (source["kind"] === "directory" || source["kind"] === "casync") &&
    typeof source["location"] === "string"
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function damaged(path: string): BerthError {
  return new BerthError(
    "STATE_DAMAGED",
    `${path} is not what an import writes; import that version again under another name, and remove this one`,
  );
}
