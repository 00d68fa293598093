/** Finds berths that ask for the same range of ids. Pure: only a broker knows who else on this host has ids. */

import type { BerthSpec } from "./keys/spec.ts";
import type { Problem } from "./toml/problem.ts";
import { formatOrigin, ProblemList } from "./toml/problem.ts";

/**
 * Every `root.range` that an earlier berth has too, reported at the later berth. Ranges are aligned: they never overlap
 * in part.
 */
export function findRangeConflicts(specs: readonly Pick<BerthSpec, "name" | "origin" | "root">[]): Problem[] {
  const problems = new ProblemList();
  const owners = new Map<number, Pick<BerthSpec, "name" | "origin">>();
  for (const { name, origin, root } of specs) {
    if (root?.range === undefined) continue;
    const earlier = owners.get(root.range);
    if (earlier === undefined) owners.set(root.range, { name, origin });
    else {
      const text = `0x${root.range.toString(16)}`;
      problems.report(
        origin,
        `${name} has the same range ${text} as ${earlier.name}, ${formatOrigin(earlier.origin)}`,
        "give one of them another root.range, or remove it and the broker reserves one",
      );
    }
  }
  return problems.sorted();
}
