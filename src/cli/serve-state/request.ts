/** What the fleet's agent may ask for: one JSON object on a line. Decodes and validates it. Pure. */
import { parseBerthName } from "../../config/toml/name.ts";
import { BerthError } from "../../errors.ts";
import { printableJson } from "../../printable.ts";

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

export type Request = SaveRequest | RestoreRequest;

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
