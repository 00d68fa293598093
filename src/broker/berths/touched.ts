/** Which of many berths another configuration touches. It looks at each once, and changes none of them. */
import type { BerthSpec } from "../../config/keys/spec.ts";
import { compareText } from "../../config/toml/problem.ts";
import type { Berth } from "./berth/berth.ts";
import { isSettled } from "./berth/meaning.ts";

interface Named {
  readonly name: string;
}

/** Without those whose berth has all that its configuration says, where that is the same object as before. */
export function changedOf(specs: readonly BerthSpec[], byName: ReadonlyMap<string, Berth>): BerthSpec[] {
  return specs.filter((spec) => {
    const berth = byName.get(spec.name);
    return berth === undefined || berth.spec !== spec || !isSettled(berth);
  });
}

/** The berths of `others`, which are those of `specs` that have changed, and of `troubled`; and those that are gone. */
export function touchedBy(
  { specs, others, troubled }: Readonly<Record<"specs" | "others" | "troubled", readonly Named[]>>,
  byName: ReadonlyMap<string, Berth>,
): Berth[] {
  const touched = [...others, ...troubled].map(({ name }) => byName.get(name)).filter((berth) => berth !== undefined);
  const unchanged = specs.length - others.length;
  if (unchanged + touched.length === byName.size) return touched;
  const configured = new Set([...specs, ...troubled].map(({ name }) => name));
  return [...touched, ...[...byName.values()].filter(({ name }) => !configured.has(name))];
}

/** Puts the entries in the order of their names. */
export function inOrder<T>(byName: Map<string, T>): void {
  const sorted = [...byName].sort(([a], [b]) => compareText(a, b));
  byName.clear();
  for (const [name, one] of sorted) byName.set(name, one);
}

export function groupBy<T>(all: readonly T[], nameOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(nameOf(one));
    if (group === undefined) groups.set(nameOf(one), [one]);
    else group.push(one);
  }
  return groups;
}
