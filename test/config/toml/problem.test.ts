import { expect, it } from "vitest";
import {
  ConfigError,
  compareText,
  describeProblems,
  formatProblem,
  isSameProblem,
  type Problem,
  ProblemList,
} from "../../../src/config/toml/problem.ts";

const problem = (file: string, line: number, message = "wrong", remedy = "right"): Problem => ({
  file,
  line,
  message,
  remedy,
});

it("a problem is its place and message, with its remedy on a line of its own; a newline in a name begins none", () => {
  expect(formatProblem(problem("a.toml", 3))).toBe("a.toml:3: wrong\n  right");
  expect(formatProblem(problem("a\nb", 3, "x\ny", "z\nw")).split("\n")).toHaveLength(2);
});

it("in one line, the first problem is whole and the others are counted", () => {
  expect(describeProblems([])).toBe("none");
  expect(describeProblems([problem("a", 1)])).toBe("a:1: wrong; right");
  expect(describeProblems([problem("a", 1), problem("b", 2)])).toBe("a:1: wrong; right; and 1 more");
  expect(describeProblems([problem("a", 1), problem("b", 2), problem("c", 3)])).toBe("a:1: wrong; right; and 2 more");
});

it("an error of the configuration has every problem", () => {
  const problems = [problem("a", 1), problem("b", 2)];
  const error = new ConfigError(problems);
  expect([error.code, error.problems]).toEqual(["CONFIG_INVALID", problems]);
  expect(error.message).toBe("the configuration has 2 problems:\na:1: wrong\n  right\nb:2: wrong\n  right");
  expect(new ConfigError([problem("a", 1)]).message).toBe("the configuration has 1 problem:\na:1: wrong\n  right");
});

it("a problem is the same one although it has moved, and so has the place that it names", () => {
  const conflict = (line: number): string => `x conflicts with y, etc/b.toml:${line}`;
  expect(isSameProblem(problem("a", 1, conflict(1)), problem("a", 2, conflict(22), "other"))).toBe(true);
  expect(isSameProblem(problem("a", 1, "x conflicts with y"), problem("a", 1, "x conflicts with y.toml:1"))).toBe(
    false,
  );
  expect(isSameProblem(problem("a", 1), problem("b", 1))).toBe(false);
  expect(isSameProblem(problem("a", 1, "x"), problem("a", 1, "y"))).toBe(false);
  expect(isSameProblem(problem("a", 1, "b.toml:1 is x"), problem("a", 1, "b.toml:2 is x"))).toBe(false);
  expect(isSameProblem(problem("a", 1, "port:1"), problem("a", 1, "port:2"))).toBe(false);
});

it("a list keeps each problem once, by file and line, and those of one line as they came", () => {
  const list = new ProblemList();
  for (const [file, line, message] of [
    ["b", 1, "x"],
    ["a", 10, "z"],
    ["a", 9, "y"],
    ["a", 10, "a"],
    ["b", 1, "x"],
  ] as const) {
    list.report({ file, line }, message, "right");
  }
  expect(list.sorted()).toEqual([
    problem("a", 9, "y"),
    problem("a", 10, "z"),
    problem("a", 10, "a"),
    problem("b", 1, "x"),
  ]);
});

it("texts are compared by code units", () => {
  expect([compareText("a", "b"), compareText("b", "a"), compareText("a", "a"), compareText("Z", "a")]).toEqual([
    -1, 1, 0, -1,
  ]);
});
