/** What the fleet's agent may ask for: one JSON object on a line. Decodes and validates it. Pure. */
import { parseBerthName } from "../../config/toml/name.ts";
import { BerthError } from "../../errors.ts";
import { printableJson } from "../../printable.ts";
import { parseReference } from "../../rootfs/images/image-name.ts";

/** The tar of what a berth's servers wrote, to the agent. With `live` a server may be running. */
export interface SaveRequest {
  readonly method: "Save";
  readonly berth: string;
  readonly live: boolean;
}

/** Such a tar, from the agent. */
export interface RestoreRequest {
  readonly method: "Restore";
  readonly berth: string;
}

/** A version of an image, to the agent or from it. */
export interface ImageRequest {
  readonly method: "ExportImage" | "ImportImage";
  readonly image: string;
  readonly version: string;
  /** `ImportImage`: the tree must have this digest. */
  readonly digest?: string;
}

/** The versions of images that the host has, to the agent. */
export interface ListRequest {
  readonly method: "ListImages";
}

export type Request = SaveRequest | RestoreRequest | ImageRequest | ListRequest;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Throws PROTOCOL_ERROR. */
export function parseRequest(line: string): Request {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new BerthError("PROTOCOL_ERROR", "the request is no JSON");
  }
  if (typeof value !== "object" || value === null) throw new BerthError("PROTOCOL_ERROR", "the request is no object");
  const fields = new Map<string, unknown>(Object.entries(value));
  const method = fields.get("method");
  switch (method) {
    case "Save":
      return { method, berth: berthOf(fields), live: booleanOf(fields, "live") };
    case "Restore":
      return { method, berth: berthOf(fields) };
    case "ExportImage":
      return { method, ...versionOf(fields) };
    case "ImportImage":
      return { method, ...versionOf(fields), ...digestOf(fields) };
    case "ListImages":
      return { method };
    default:
      throw new BerthError("PROTOCOL_ERROR", `there is no method ${printableJson(method ?? null)}`);
  }
}

/** The name becomes part of a path. The fleet has no templates, and so no instances. */
function berthOf(fields: ReadonlyMap<string, unknown>): string {
  const berth = fields.get("berth");
  if (typeof berth === "string" && parseBerthName(berth)?.kind === "plain") return berth;
  throw new BerthError("PROTOCOL_ERROR", `${printableJson(berth ?? null)} is not the name of a berth of the fleet`);
}

function booleanOf(fields: ReadonlyMap<string, unknown>, name: string): boolean {
  const value = fields.get(name) ?? false;
  if (typeof value === "boolean") return value;
  throw new BerthError("PROTOCOL_ERROR", `${name} is ${printableJson(value)}, and not true or false`);
}

function digestOf(fields: ReadonlyMap<string, unknown>): Pick<ImageRequest, "digest"> {
  const digest = fields.get("digest");
  if (digest === undefined) return {};
  if (typeof digest === "string" && DIGEST.test(digest)) return { digest };
  throw new BerthError("PROTOCOL_ERROR", `${printableJson(digest)} is no digest of a tree: sha256: and 64 digits`);
}

/** Both names become parts of a path. */
function versionOf(fields: ReadonlyMap<string, unknown>): Pick<ImageRequest, "image" | "version"> {
  const [image, version] = [fields.get("image"), fields.get("version")];
  if (typeof image === "string" && typeof version === "string") {
    const found = parseReference(`${image}@${version}`);
    if (found?.kind === "image" && found.name === image && found.version === version) return { image, version };
  }
  throw new BerthError(
    "PROTOCOL_ERROR",
    `${printableJson([image ?? null, version ?? null])} is no version of an image`,
  );
}
