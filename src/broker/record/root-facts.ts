/**
 * What a broker must know about a root of an earlier broker, besides its mount. It is a memfd in the service manager's
 * store, next to the mount, written once before it is stored. Pure.
 */
import type { Range } from "../../rootfs/ranges/range.ts";
import type { RootFacts } from "../../rootfs/roots/root.ts";

export function encodeRootFacts(facts: RootFacts): Buffer {
  return Buffer.from(JSON.stringify(facts));
}

/** The facts; undefined when there are none. */
export function decodeRootFacts(text: Uint8Array): RootFacts | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text).toString());
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { strategy, images, state, range } = value as Record<string, unknown>;
  if (strategy !== "idmap" && strategy !== "metacopy" && strategy !== "none") return undefined;
  if (state !== "persistent" && state !== "volatile" && state !== "readonly") return undefined;
  if (!Array.isArray(images) || !images.every((image) => typeof image === "string")) return undefined;
  if (range !== undefined && !isRange(range)) return undefined;
  return { strategy, images, state, ...(range !== undefined && { range }) };
}

function isRange(value: unknown): value is Range {
  if (typeof value !== "object" || value === null) return false;
  const { base, count } = value as Record<string, unknown>;
  return Number.isInteger(base) && Number.isInteger(count);
}
