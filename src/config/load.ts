/** Loads a configuration: directories → files → merged tables → specs. It reads the disk and looks up users once. */

import type { Accounts } from "../accounts.ts";
import { findConflicts } from "./conflicts.ts";
import { readBerth } from "./keys/berth.ts";
import type { BerthSpec } from "./keys/spec.ts";
import { findRangeConflicts } from "./range-conflicts.ts";
import { composeBerths } from "./toml/compose.ts";
import type { Problem } from "./toml/problem.ts";
import { ProblemList, type Report } from "./toml/problem.ts";
import { readConfigFiles } from "./toml/read-files.ts";

export interface LoadOptions {
  /** In rising precedence: `["/usr/lib/berthd", "/etc/berthd"]`. A directory that does not exist is skipped. */
  readonly directories: readonly string[];
  readonly accounts: Accounts;
}

export interface LoadedConfig {
  /** The berths without a problem of their own, by name. Two of them may still conflict: see `problems`. */
  readonly specs: readonly BerthSpec[];
  /** Every problem, by file and line. Open nothing unless this is empty. */
  readonly problems: readonly Problem[];
}

/** Reads the configuration. Its problems are in the result, never thrown. */
export function loadConfig({ directories, accounts }: LoadOptions): LoadedConfig {
  const problems = new ProblemList();
  const files = readConfigFiles(directories, problems.report);
  const specs: BerthSpec[] = [];
  const drafts: BerthSpec[] = [];
  for (const berth of composeBerths(files, problems.report)) {
    let isValid = true;
    const report: Report = (...problem) => {
      isValid = false;
      problems.report(...problem);
    };
    const spec = readBerth(berth, { report, accounts });
    drafts.push(spec);
    if (isValid) specs.push(spec);
  }
  // Of all drafts, so that another mistake in a file does not hide its conflicts.
  for (const { file, line, message, remedy } of [...findConflicts(drafts), ...findRangeConflicts(drafts)])
    problems.report({ file, line }, message, remedy);
  return { specs, problems: problems.sorted() };
}
