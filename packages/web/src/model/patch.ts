/** What differs between two lists of berths, as it is sent to pages. Pure. */
import type { BerthKey, BerthPatch, BerthRow, Host, Patch } from "../api/shapes.ts";

export interface Shown {
  readonly hosts: readonly Host[];
  readonly berths: readonly BerthRow[];
}

/** Undefined where nothing differs. */
export function patchOf(before: Shown, after: Shown, at: number): Patch | undefined {
  const old = new Map(before.berths.map((row) => [keyOf(row), row]));
  const berths = after.berths.flatMap((row) => {
    const known = old.get(keyOf(row));
    old.delete(keyOf(row));
    const patch = known === undefined ? row : changesOf(known, row);
    return patch === undefined ? [] : [patch];
  });
  const removed: BerthKey[] = [...old.values()].map(({ host, name }) => ({ host, name }));
  const oldHosts = new Map(before.hosts.map((host) => [host.id, JSON.stringify(host)]));
  const hosts = after.hosts.filter((host) => oldHosts.get(host.id) !== JSON.stringify(host));
  if (berths.length + removed.length + hosts.length === 0) return undefined;
  return { at, hosts, berths, removed };
}

function changesOf(before: BerthRow, after: BerthRow): BerthPatch | undefined {
  if (before === after) return undefined;
  const old: Readonly<Record<string, unknown>> = { ...before };
  const changed = Object.entries(after).filter(([field, value]) => !isSame(old[field], value));
  if (changed.length === 0) return undefined;
  return { host: after.host, name: after.name, ...Object.fromEntries(changed) };
}

function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  return typeof a === "object" && typeof b === "object" && JSON.stringify(a) === JSON.stringify(b);
}

function keyOf({ host, name }: BerthKey): string {
  return `${host}/${name}`;
}
