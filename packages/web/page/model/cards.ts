/** What a host's card says. Pure. */
import type { BerthRow, Host } from "../../src/api/shapes.ts";
import { type Totals, totalsOf } from "./totals.ts";

export interface Card {
  readonly host: Host;
  readonly totals: Totals;
  /** Of its berths, the worst first; parts without a berth are left out. */
  readonly parts: readonly Part[];
}

export interface Part {
  readonly key: "trouble" | "changing" | "serving" | "asleep" | "vacant";
  readonly count: number;
  readonly words: string;
}

const PARTS: readonly (readonly [Part["key"], string])[] = [
  ["trouble", "in trouble"],
  ["changing", "changing"],
  ["serving", "serving"],
  ["asleep", "asleep"],
  ["vacant", "vacant"],
];

/** Not reachable hosts first, then those with the most trouble, then by name. */
export function cardsOf(hosts: readonly Host[], berths: readonly BerthRow[]): readonly Card[] {
  return hosts
    .map((host): Card => {
      const totals = totalsOf(berths.filter((berth) => berth.host === host.id));
      const parts = PARTS.map(([key, words]) => ({ key, count: totals[key], words }));
      return { host, totals, parts: parts.filter((part) => part.count > 0) };
    })
    .sort(
      (a, b) =>
        Number(b.host.unreachableSince !== null) - Number(a.host.unreachableSince !== null) ||
        b.totals.trouble - a.totals.trouble ||
        a.host.id.localeCompare(b.host.id, "en", { numeric: true }),
    );
}
