/** Problems of a configuration. They are collected, never thrown, so that one run names all of them. */

import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";

/** Where a value was written, for messages about it. `line` counts from 1. */
export interface Origin {
  readonly file: string;
  readonly line: number;
}

/** One problem of the configuration, for the operator. */
export interface Problem extends Origin {
  /** What is wrong. */
  readonly message: string;
  /** What to write instead. */
  readonly remedy: string;
}

/** Reports one problem: where it is, what is wrong, and what to write instead. */
export type Report = (origin: Origin, message: string, remedy: string) => void;

/** `file:line`, as compilers write it and editors jump to it. */
export function formatOrigin(origin: Origin): string {
  return `${origin.file}:${origin.line}`;
}

/** `file:line: message`, and the remedy on an indented line of its own. */
export function formatProblem(problem: Problem): string {
  const { message, remedy } = problem;
  // A newline in a name must not begin a problem of its own.
  return `${printable(`${formatOrigin(problem)}: ${message}`)}\n  ${printable(remedy)}`;
}

/** One line about them: the first one whole, and how many others there are. */
export function describeProblems(problems: readonly Problem[]): string {
  const [first] = problems;
  if (first === undefined) return "none";
  const more = problems.length === 1 ? "" : `; and ${problems.length - 1} more`;
  return `${formatOrigin(first)}: ${first.message}; ${first.remedy}${more}`;
}

/** The configuration cannot be used. Its message has every problem. */
export class ConfigError extends BerthError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super("CONFIG_INVALID", `the configuration has ${count}:\n${problems.map(formatProblem).join("\n")}`);
    this.problems = problems;
  }
}

/** Whether two problems are the same one, although lines were added above it. */
export function isSameProblem(a: Problem, b: Problem): boolean {
  const text = ({ file, message }: Problem): string => `${file} ${message.replace(/(\.toml):\d+$/, "$1")}`;
  return text(a) === text(b);
}

/** Collects problems. A problem of a template is kept once, not once for each instance. */
export class ProblemList {
  readonly #seen = new Map<string, Problem>();

  readonly report: Report = (origin, message, remedy) => {
    const problem: Problem = { file: origin.file, line: origin.line, message, remedy };
    this.#seen.set(formatProblem(problem), problem);
  };

  /** All of them, by file and line. */
  sorted(): Problem[] {
    return [...this.#seen.values()].sort((a, b) => compareText(a.file, b.file) || a.line - b.line);
  }
}

/** Order by code units, the same in every locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
