/** Encodes and decodes the manifest of a version: the file manifest.json beside its tree. Pure. */
import { BerthError } from "../../errors.ts";

/** The source of an import. */
export interface ImageSource {
  readonly kind: "directory" | "casync";
  /** The absolute path of the folder or index, or the index's address. */
  readonly location: string;
  /** The digest of the archive, as `casync digest` prints it. */
  readonly digest?: string;
}

export interface Manifest {
  readonly name: string;
  readonly version: string;
  /** The digest of the whole tree: `sha256:` and 64 hexadecimal digits. Equal trees have equal digests on any host. */
  readonly digest: string;
  /** Files of every kind, folders included. */
  readonly entries: number;
  /** Bytes in regular files. A file with several names counts once. */
  readonly bytes: number;
  /** The number of device nodes that the import left out. Absent when there were none. */
  readonly droppedDevices?: number;
  /** The time of the import (ISO 8601). */
  readonly imported: string;
  readonly source: ImageSource;
}

const FORMAT = 1;

export function encodeManifest(manifest: Manifest): string {
  return `${JSON.stringify({ format: FORMAT, ...manifest }, undefined, 1)}\n`;
}

/** Throws STATE_DAMAGED unless {@link encodeManifest} wrote the text. */
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
    `${path} is damaged: no import wrote it; import that version again as another version, then remove this one with \`berth image rm NAME@VERSION\``,
  );
}
