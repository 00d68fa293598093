/** Reads resource limits (setrlimit(2)) and capabilities (capabilities(7)). */

import { parseSize, type Reader, type Reading, refuse, text } from "../toml/reader.ts";
import { suggest } from "../toml/suggest.ts";
import { scalarOf, type Value } from "../toml/tree.ts";
import { capabilityNames, limitUnits } from "./kernel-names.ts";
import type { LimitSpec } from "./spec.ts";

/** One entry of `[server.limits]`: a number, "unlimited", or "SOFT:HARD" where HARD may be "keep". */
export function readLimit(resource: string, value: Value, reading: Reading): LimitSpec | undefined {
  const unit = limitUnits.get(resource);
  if (unit === undefined) {
    const remedy = suggest(resource, [...limitUnits.keys()]);
    reading.report(value.origin, `${reading.label}: "${resource}" is not a resource limit`, remedy);
    return undefined;
  }
  const [first = "", second = first, ...more] = String(scalarOf(value)).split(":");
  const amount = (part: string): number | "unlimited" | undefined => {
    if (part === "unlimited") return part;
    return unit === "bytes" || /^\d+$/.test(part) ? parseSize(part) : undefined;
  };
  const soft = amount(first);
  const hard = second === "keep" ? second : amount(second);
  if (soft === undefined || hard === undefined || more.length > 0) {
    const example = unit === "bytes" ? '"64M", "64M:1G"' : '1024, "1024:4096"';
    const remedy = `write ${example}, "unlimited", or "SOFT:keep" to keep the hard limit`;
    return refuse(value, reading, `a limit (${unit}) or SOFT:HARD`, remedy);
  }
  if (hard !== "keep" && order(soft) > order(hard)) {
    return refuse(value, reading, "a soft limit below its hard limit", "write the smaller one first");
  }
  return { resource, soft, hard };
}

function order(amount: number | "unlimited"): number {
  return amount === "unlimited" ? Number.POSITIVE_INFINITY : amount;
}

/** A capability's number. */
export const capability: Reader<number> = (value, reading) => {
  const name = text(value, reading);
  if (name === undefined) return undefined;
  const number = capabilityNames.indexOf(name);
  if (number >= 0) return number;
  return refuse(value, reading, "a capability", suggest(name, capabilityNames));
};
