/** The hosts and berths that the page knows, and how the events of the stream change them. Pure. */
import type { BerthKey, BerthPatch, BerthRow, Host, Overview, Patch, Time } from "../../src/api/shapes.ts";

export interface World {
  /** When this was true. Null: nothing is known yet. */
  readonly at: Time | null;
  readonly hosts: ReadonlyMap<string, Host>;
  /** By {@link keyOf}. */
  readonly berths: ReadonlyMap<string, BerthRow>;
  /** Grows when the order of the list may change: a state, a new berth, a host that does not answer any more. */
  readonly revision: number;
}

export const NOTHING: World = { at: null, hosts: new Map(), berths: new Map(), revision: 0 };

/** `HOST/NAME`. */
export function keyOf(berth: BerthKey): string {
  return `${berth.host}/${berth.name}`;
}

/** Replaces everything; a row that is the same stays the same object, so that it is not drawn again. */
export function withOverview(world: World, overview: Overview): World {
  const hosts = new Map(overview.hosts.map((host) => [host.id, kept(world.hosts.get(host.id), host)]));
  const berths = new Map(overview.berths.map((row) => [keyOf(row), kept(world.berths.get(keyOf(row)), row)]));
  return next(world, overview.at, hosts, berths);
}

export function withPatch(world: World, patch: Patch): World {
  const hosts = new Map(world.hosts);
  for (const host of patch.hosts) hosts.set(host.id, host);
  const berths = new Map(world.berths);
  for (const key of patch.removed) berths.delete(keyOf(key));
  for (const change of patch.berths) {
    const before = berths.get(keyOf(change));
    const row = before === undefined ? whole(change) : { ...before, ...change };
    if (row !== undefined) berths.set(keyOf(change), row);
  }
  return next(world, patch.at, hosts, berths);
}

function next(world: World, at: Time, hosts: ReadonlyMap<string, Host>, berths: ReadonlyMap<string, BerthRow>): World {
  return { at, hosts, berths, revision: world.revision + (hasSameOrder(world, hosts, berths) ? 0 : 1) };
}

function hasSameOrder(world: World, hosts: ReadonlyMap<string, Host>, berths: ReadonlyMap<string, BerthRow>): boolean {
  if (berths.size !== world.berths.size || hosts.size !== world.hosts.size) return false;
  for (const [id, host] of hosts) {
    const before = world.hosts.get(id);
    if (before === undefined || (before.unreachableSince === null) !== (host.unreachableSince === null)) return false;
  }
  for (const [key, berth] of berths) {
    const before = world.berths.get(key);
    if (before === berth) continue;
    if (before?.state !== berth.state || (before.outdated === null) !== (berth.outdated === null)) return false;
  }
  return true;
}

/** The patch of a new berth has every field. A patch without some belongs to a berth that was removed. */
function whole(change: BerthPatch): BerthRow | undefined {
  return isWhole(change) ? change : undefined;
}

function isWhole(change: BerthPatch): change is BerthRow {
  return change.state !== undefined && change.spark !== undefined;
}

function kept<T>(before: T | undefined, now: T): T {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(now) ? before : now;
}
