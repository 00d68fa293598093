/** `[root.binds]`: files and folders of the host that a server finds in the root it enters. Pure: it reads no file. */
import { posix } from "node:path";
import { compareText } from "../toml/problem.ts";
import { flag, matching, type Reader, type Reading, tableOf } from "../toml/reader.ts";
import { type Context, openSection } from "../toml/section.ts";
import type { Value } from "../toml/tree.ts";
import type { BindSpec } from "./spec.ts";

const absolute = matching(/^\//, "an absolute path", "write a path that begins with /");

const keys = {
  source: { name: "source", type: "absolute path", read: absolute },
  readOnly: { name: "read-only", type: "boolean", read: flag, fallback: true, default: "true" },
};

/** Places that the launcher fills itself. */
const LAUNCHER_PLACES = ["/", "/proc", "/dev", "/dev/shm", "/tmp", "/run"];

function problemOf(target: string): string | undefined {
  if (!target.startsWith("/") || target.includes("\0") || posix.normalize(target) !== target || /.\/$/.test(target)) {
    return "is not an absolute path without ., .. and double slashes";
  }
  if (LAUNCHER_PLACES.includes(target) || target.startsWith("/proc/")) return "is filled by the launcher itself";
  return undefined;
}

function bind(target: string, value: Value, reading: Reading): BindSpec | undefined {
  const problem = problemOf(target);
  if (problem !== undefined)
    reading.report(value.origin, `root.binds: "${target}" ${problem}`, 'write "/srv/maps" = "…"');
  const section =
    value.kind === "table" ? openSection(reading.label, value, keys, reading satisfies Context) : undefined;
  const source = section === undefined ? absolute(value, reading) : section.optional(keys.source);
  if (section !== undefined && !section.table.entries.has("source"))
    return void reading.report(value.origin, `${reading.label} has no source`, 'add source = "/path/on/the/host"');
  return source === undefined ? undefined : { target, source, readOnly: section?.value(keys.readOnly) ?? true };
}

/** The binds, each folder before what is inside it. */
export const readBinds: Reader<readonly BindSpec[]> = (value, reading) => {
  const binds = tableOf(bind)(value, reading);
  return binds && [...binds.values()].sort((a, b) => compareText(a.target, b.target));
};
