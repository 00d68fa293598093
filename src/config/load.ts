/**
 * Loads a configuration: directories → files → merged tables → drafts → berths. It reads the disk and looks up users
 * once. A problem concerns one berth, or all that a template is for, and the others are loaded as if it were not there.
 */
import type { Accounts } from "../accounts.ts";
import { type Conflict, findConflicts, type HoldsAddress } from "./conflicts.ts";
import { readBerth } from "./keys/berth.ts";
import type { BerthSpec } from "./keys/spec.ts";
import { findRangeConflicts, type HoldsRange } from "./range-conflicts.ts";
import { composeBerths } from "./toml/compose.ts";
import { concerns } from "./toml/concern.ts";
import { type BerthName, parseBerthName } from "./toml/name.ts";
import type { Origin, Problem } from "./toml/problem.ts";
import { ProblemList, type Report } from "./toml/problem.ts";
import { readConfigFiles } from "./toml/read-files.ts";
import { emptyTable } from "./toml/section.ts";

export interface LoadOptions {
  /** In rising precedence: `["/usr/lib/berthd", "/etc/berthd"]`. A directory that does not exist is skipped. */
  readonly directories: readonly string[];
  readonly accounts: Accounts;
}

/** A berth that cannot be used as it is configured. */
export interface TroubledBerth {
  readonly name: string;
  readonly origin: Origin;
  readonly problems: readonly Problem[];
  /** What could be read of it, with defaults for the rest. */
  readonly draft: BerthSpec;
}

/** Berths as they were read, before two of them are compared. */
export interface Drafts {
  /** By name. `problems` are those of their files. */
  readonly berths: readonly TroubledBerth[];
  /** What concerns no single berth. */
  readonly general: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** The directories that exist. */
  readonly directories: readonly string[];
}

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

const nothing: Holdings = { address: () => false, range: () => false };

/** Reads the configuration. Its problems are in the result, never thrown. */
export function loadConfig(options: LoadOptions): LoadedConfig {
  return settleConflicts(readDrafts(options));
}

/** Reads the files of all berths. */
export function readDrafts({ directories, accounts }: LoadOptions): Drafts {
  const ofFiles = new ProblemList();
  const warnings = new ProblemList();
  const files = readConfigFiles(directories, ofFiles.report, warnings.report);
  const composed = composeBerths(files, ofFiles.report);
  const concerned = concerns(
    directories,
    composed.map(({ name }) => name),
  );
  const general: Problem[] = [];
  const byBerth = new Map<string, ProblemList>(composed.map(({ name }) => [name.full, new ProblemList()]));
  for (const problem of ofFiles.sorted()) {
    const names = concerned(problem.file);
    if (names.length === 0) general.push(problem);
    for (const name of names) byBerth.get(name)?.report(problem, problem.message, problem.remedy);
  }
  const berths = composed.map(({ name: { full }, name, origin, table }): TroubledBerth => {
    const problems = byBerth.get(full) ?? new ProblemList();
    const report: Report = (...problem) => problems.report(...problem);
    const draft =
      table === undefined ? blank(name, origin, accounts) : readBerth({ name, origin, table }, { report, accounts });
    return { name: full, origin, problems: problems.sorted(), draft };
  });
  return { berths, general, warnings: warnings.sorted(), directories: files.directories };
}

/** What berths of these names would be without a file: they have nothing. A name that no berth can have is left out. */
export function draftsOf(names: readonly string[], accounts: Accounts): BerthSpec[] {
  return names.flatMap((full) => {
    const name = parseBerthName(full);
    return name === undefined || name.kind === "template" ? [] : [blank(name, { file: full, line: 1 }, accounts)];
  });
}

function blank(name: BerthName, origin: Origin, accounts: Accounts): BerthSpec {
  return readBerth({ name, origin, table: emptyTable({ origin }) }, { report: () => undefined, accounts });
}

/** Tells the berths without problems from the others. A berth gives way to one that `holds` the address or range. */
export function settleConflicts({ berths, general, warnings }: Drafts, holds: Holdings = nothing): LoadedConfig {
  // Of all drafts, so that another mistake in a file does not hide its conflicts. Those without a mistake come first.
  const isFaulty = ({ problems }: TroubledBerth): boolean => problems.length > 0;
  const drafts = [...berths.filter((berth) => !isFaulty(berth)), ...berths.filter(isFaulty)].map(({ draft }) => draft);
  const conflicts = byBerth([...findConflicts(drafts, holds.address), ...findRangeConflicts(drafts, holds.range)]);
  const all = new ProblemList();
  for (const { file, line, message, remedy } of general) all.report({ file, line }, message, remedy);
  const specs: BerthSpec[] = [];
  const troubled: TroubledBerth[] = [];
  for (const berth of berths) {
    const { draft } = berth;
    const problems = [...berth.problems, ...(conflicts.get(berth.name) ?? [])];
    if (problems.length === 0) specs.push(draft);
    else troubled.push({ ...berth, problems });
    for (const { file, line, message, remedy } of problems) all.report({ file, line }, message, remedy);
  }
  return { specs, troubled, general, warnings, problems: all.sorted() };
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
