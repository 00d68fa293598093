/** Which berths the list shows, in which groups and in which order. Pure. */
import type { BerthRow } from "../../src/api/shapes.ts";
import { GROUPS, type GroupKey, STATE_ORDER, STATES } from "./states.ts";
import { keyOf } from "./world.ts";

export type Order = "trouble" | "name" | "players" | "memory" | "uptime";

export const ORDERS: readonly { readonly order: Order; readonly title: string }[] = [
  { order: "trouble", title: "Trouble first" },
  { order: "name", title: "By name" },
  { order: "players", title: "Most players" },
  { order: "memory", title: "Most memory" },
  { order: "uptime", title: "Longest up" },
];

export interface Wanted {
  /** Words that all have to be found in a berth, in any case. */
  readonly filter: string;
  /** One group only. */
  readonly only: GroupKey | null;
  readonly order: Order;
}

/** Rows under one heading. */
export interface Section {
  /** Null: all in one, without headings. */
  readonly group: GroupKey | null;
  readonly title: string;
  readonly folds: boolean;
  readonly keys: readonly string[];
}

export type IsUnreachable = (host: string) => boolean;

/** The berths that the filter and the group leave, in no order. */
export function matching(berths: Iterable<BerthRow>, wanted: Wanted, isUnreachable: IsUnreachable): BerthRow[] {
  const words = wanted.filter.toLowerCase().split(/\s+/).filter(Boolean);
  return [...berths].filter(
    (berth) =>
      (wanted.only === null || groupOf(berth, isUnreachable) === wanted.only) &&
      words.every((word) => searched(berth).includes(word)),
  );
}

/** `isUnreachable` is asked for the berths' hosts: such berths have a group of their own. */
export function layOut(berths: Iterable<BerthRow>, wanted: Wanted, isUnreachable: IsUnreachable): readonly Section[] {
  const shown = matching(berths, wanted, isUnreachable);
  if (shown.length === 0) return [];
  if (wanted.order !== "trouble") {
    const keys = shown.sort(COMPARE[wanted.order]).map(keyOf);
    return [{ group: null, title: "", folds: false, keys }];
  }
  return GROUPS.map(({ key, title, folds }): Section => {
    const rows = shown.filter((berth) => groupOf(berth, isUnreachable) === key);
    return { group: key, title, folds, keys: rows.sort(key === "trouble" ? newestFirst : calm).map(keyOf) };
  }).filter((section) => section.keys.length > 0);
}

function groupOf(berth: BerthRow, isUnreachable: IsUnreachable): GroupKey {
  return isUnreachable(berth.host) ? "unreachable" : STATES[berth.state].group;
}

function searched(berth: BerthRow): string {
  const parts = [berth.name, berth.game, berth.map, STATES[berth.state].word, berth.address, berth.image, berth.host];
  if (berth.outdated !== null) parts.push("outdated");
  return parts.join(" ").toLowerCase();
}

type Compare = (a: BerthRow, b: BerthRow) => number;

const byName: Compare = (a, b) =>
  a.name.localeCompare(b.name, "en", { numeric: true }) || a.host.localeCompare(b.host, "en", { numeric: true });
const byState: Compare = (a, b) => STATE_ORDER.indexOf(a.state) - STATE_ORDER.indexOf(b.state);
const newestFirst: Compare = (a, b) => byState(a, b) || (b.since ?? 0) - (a.since ?? 0) || byName(a, b);
const calm: Compare = (a, b) =>
  byState(a, b) || Number(b.outdated !== null) - Number(a.outdated !== null) || byName(a, b);

const COMPARE: Readonly<Record<Exclude<Order, "trouble">, Compare>> = {
  name: byName,
  players: (a, b) => (b.players ?? -1) - (a.players ?? -1) || byName(a, b),
  memory: (a, b) => (b.memory?.used ?? -1) - (a.memory?.used ?? -1) || byName(a, b),
  uptime: (a, b) => (a.since ?? Number.POSITIVE_INFINITY) - (b.since ?? Number.POSITIVE_INFINITY) || byName(a, b),
};
