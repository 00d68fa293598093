/**
 * Loads a configuration: drafts.ts reads the drafts of all berths, and here they are compared. A problem concerns one
 * berth, or all that a template is for, and the others are loaded as if it were not there.
 */

import { type Conflict, findConflicts, type HoldsAddress } from "./conflicts.ts";
import { DraftReader, type Drafts, type LoadOptions, type TroubledBerth } from "./drafts.ts";
import type { BerthSpec } from "./keys/spec.ts";
import { findRangeConflicts, type HoldsRange } from "./range-conflicts.ts";
import { findSdkConflicts } from "./sdk-conflicts.ts";
import { toEnd } from "./steps.ts";
import { type Problem, ProblemList } from "./toml/problem.ts";

export interface LoadedConfig {
  /** The berths without any problem, by name. They can be opened, whatever is wrong with others. */
  readonly specs: readonly BerthSpec[];
  /** The others, by name. */
  readonly troubled: readonly TroubledBerth[];
  /** What concerns no single berth. */
  readonly general: readonly Problem[];
  /** What is likely a mistake, and no problem. */
  readonly warnings: readonly Problem[];
  /** Every problem, by file and line. */
  readonly problems: readonly Problem[];
}

/** What berths have already: it stays theirs. */
export interface Holdings {
  readonly address: HoldsAddress;
  readonly range: HoldsRange;
}

const NO_CONFLICTS: ReadonlyMap<string, readonly Problem[]> = new Map();
const nothing: Holdings = { address: () => false, range: () => false };

/** Reads the configuration. Its problems are in the result, never thrown. */
export function loadConfig(options: LoadOptions): LoadedConfig {
  return settleConflicts(readDrafts(options));
}

/** Reads the files of all berths. */
export function readDrafts(options: LoadOptions): Drafts {
  return toEnd(new DraftReader(options).read());
}

/** Tells the berths without problems from the others. A berth gives way to one that `holds` the address or range. */
export function settleConflicts(
  { berths, general, warnings, crowded }: Drafts,
  holds: Holdings = nothing,
): LoadedConfig {
  const conflicts = canConflict(berths, crowded) ? conflictsOf(berths, crowded, holds) : NO_CONFLICTS;
  const all = new ProblemList();
  for (const { file, line, message, remedy } of general) all.report({ file, line }, message, remedy);
  const specs: BerthSpec[] = [];
  const troubled: TroubledBerth[] = [];
  for (const berth of berths) {
    const found = conflicts.get(berth.name);
    if (berth.problems.length === 0 && found === undefined) {
      specs.push(berth.draft);
      continue;
    }
    const problems = [...berth.problems, ...(found ?? [])];
    troubled.push({ ...berth, problems });
    for (const { file, line, message, remedy } of problems) all.report({ file, line }, message, remedy);
  }
  return { specs, troubled, general, warnings, problems: all.sorted() };
}

/** Whether there is anything to compare: of ten thousand berths, mostly not. */
function canConflict(berths: Drafts["berths"], crowded: Drafts["crowded"]): boolean {
  if (crowded === undefined || crowded.size > 0) return true;
  for (const { draft } of berths) if (draft.root?.range !== undefined || draft.server.sdk !== undefined) return true;
  return false;
}

function conflictsOf(
  berths: Drafts["berths"],
  crowded: Drafts["crowded"],
  holds: Holdings,
): ReadonlyMap<string, readonly Problem[]> {
  // Of all drafts, so that another mistake in a file does not hide its conflicts. Those without a mistake come first.
  const isFaulty = ({ problems }: TroubledBerth): boolean => problems.length > 0;
  const drafts = [...berths.filter((berth) => !isFaulty(berth)), ...berths.filter(isFaulty)].map(({ draft }) => draft);
  return byBerth([
    ...findConflicts(drafts, holds.address, crowded),
    ...findRangeConflicts(drafts, holds.range),
    ...findSdkConflicts(drafts),
  ]);
}

function byBerth(conflicts: readonly Conflict[]): Map<string, Problem[]> {
  const found = new Map<string, Problem[]>();
  for (const { berth, problem } of conflicts) {
    const list = found.get(berth);
    if (list === undefined) found.set(berth, [problem]);
    else list.push(problem);
  }
  return found;
}
