/** Finds berths that ask for the same range of ids. Pure: only a broker knows who else on this host has ids. */

import type { Conflict } from "./conflicts.ts";
import type { BerthSpec } from "./keys/spec.ts";
import { formatOrigin } from "./toml/problem.ts";

/** Whether a berth has the range that begins with this id already. It keeps it then. */
export type HoldsRange = (berth: string, base: number) => boolean;

/**
 * Every `root.range` that another berth has too. The berth that has it reserved keeps it, else the first of `berths`.
 * Ranges are aligned: they never overlap in part.
 */
export function findRangeConflicts(
  berths: readonly Pick<BerthSpec, "name" | "origin" | "root">[],
  holds: HoldsRange,
): Conflict[] {
  const conflicts: Conflict[] = [];
  const owners = new Map<number, Pick<BerthSpec, "name" | "origin">>();
  const wanted = berths.flatMap(({ name, origin, root }) =>
    root?.range === undefined ? [] : [{ name, origin, range: root.range, held: holds(name, root.range) }],
  );
  for (const { name, origin, range } of [...wanted.filter(({ held }) => held), ...wanted.filter(({ held }) => !held)]) {
    const owner = owners.get(range);
    if (owner === undefined) owners.set(range, { name, origin });
    else {
      const message = `${name} has the same range 0x${range.toString(16)} as ${owner.name}, ${formatOrigin(owner.origin)}`;
      const remedy = "give one of them another root.range, or remove it and the broker reserves one";
      conflicts.push({ berth: name, problem: { file: origin.file, line: origin.line, message, remedy } });
    }
  }
  return conflicts;
}
