/** Problems of a configuration. They are collected, never thrown, so that one run names all of them. */

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

/** Collects problems. A problem of a template is kept once, not once for each instance. */
export class ProblemList {
  readonly #seen = new Map<string, Problem>();

  readonly report: Report = (origin, message, remedy) => {
    const problem: Problem = { file: origin.file, line: origin.line, message, remedy };
    const text = formatProblem(problem);
    if (!this.#seen.has(text)) this.#seen.set(text, problem);
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
