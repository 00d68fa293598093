/**
 * The `[tenant]` section: the users, groups and units that may take the berth; and `[observer]`: those that may see it.
 * Pure.
 */
import { gid, uid } from "../toml/account-readers.ts";
import { listOf, type Reader, refuse, text } from "../toml/reader.ts";
import { type Context, type DefaultedKey, type Key, openSection } from "../toml/section.ts";
import type { Value } from "../toml/tree.ts";
import type { TenantSpec } from "./spec.ts";

const unitTypes = [
  "service",
  "scope",
  "slice",
  "socket",
  "timer",
  "mount",
  "swap",
  "path",
  "target",
  "device",
  "automount",
];

/** A unit's name (systemd.unit(5)), or a pattern with `*` and `?`; broker/access/policy.ts matches it. */
const unit: Reader<string> = (value, reading) => {
  const name = text(value, reading);
  if (name === undefined) return undefined;
  const isGlob = /[*?]/.test(name);
  const hasType = unitTypes.some((type) => name.endsWith(`.${type}`));
  if (!/[\s/[\]]/.test(name) && (isGlob || hasType)) return name;
  return refuse(value, reading, "a unit's name", 'write it with its type, as in "arena.service" or "arena@*.service"');
};

const none: readonly never[] = [];

function list<T>(name: string, type: string, read: Reader<T>): DefaultedKey<readonly T[]> {
  return { name, type, read: listOf(read), fallback: none, default: "[]" };
}

const keys = {
  users: list("users", "array of user names or ids", uid),
  groups: list("groups", "array of group names or ids", gid),
  units: list("units", "array of systemd unit names or globs", unit),
};

/** The keys of `[tenant]`, and of `[observer]`. */
export const tenantKeys: readonly Key<unknown>[] = Object.values(keys);

/** One object for all berths that name nobody. */
const nobody: TenantSpec = { uids: none, gids: none, units: none };

/** Reads the `[tenant]` or the `[observer]` table. */
export function readTenant(value: Value, context: Context, name: "tenant" | "observer" = "tenant"): TenantSpec {
  if (value.kind === "table" && value.entries.size === 0) return nobody;
  const section = openSection(name, value, keys, context);
  return { uids: section.value(keys.users), gids: section.value(keys.groups), units: section.value(keys.units) };
}
