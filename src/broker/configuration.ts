/** The berths that a broker is to have: read from its folders, or given by the program. It opens nothing. */

import { systemAccounts } from "../accounts.ts";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { BerthSpec, Problem } from "../config/spec.ts";
import { BerthError } from "../errors.ts";
import type { Native } from "../native.ts";
import type { BerthRoots } from "./berths/berth-roots.ts";
import type { BrokerOptions } from "./broker-options.ts";

/** Throws CONFIG_INVALID with every problem in its message. */
export function readConfiguration(
  { config = [], berths }: Pick<BrokerOptions, "config" | "berths">,
  roots: BerthRoots,
  sys: Native,
): readonly BerthSpec[] {
  const { specs, problems } =
    berths === undefined
      ? loadConfig({ directories: config, accounts: systemAccounts(sys) })
      : { specs: berths, problems: [] };
  checkProblems(problems);
  checkProblems(roots.problems(specs));
  return specs;
}

/** Throws CONFIG_INVALID if there are any. */
export function checkProblems(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  throw new BerthError("CONFIG_INVALID", `the configuration has ${count}:\n${problems.map(formatProblem).join("\n")}`);
}
