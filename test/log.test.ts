import { expect, test } from "vitest";
import { formatProblem } from "../src/config/toml/problem.ts";
import { createLog, type LogFormat } from "../src/log.ts";

const hostile = "a\nb\u001b[2J\u009b\u202e\u2028c";
const shown = "a\\x0ab\\x1b[2J\\x9b\\u{202e}\\u{2028}c";

test.each<[LogFormat, RegExp]>([
  ["text", /^\S+ warning +berth (.*)\n$/],
  ["journal", /^<4>berth (.*)\n$/],
])("a name in a %s log begins no line of its own and drives no terminal", (format, line) => {
  const lines: string[] = [];
  createLog(format, "info", (text) => lines.push(text))("warning", `berth ${hostile}`);
  expect(lines).toHaveLength(1);
  expect(line.exec(lines[0] ?? "")?.[1]).toBe(shown);
});

test("a JSON log has the name as it is, in characters that drive no terminal", () => {
  const lines: string[] = [];
  createLog("json", "info", (text) => lines.push(text))("warning", hostile, { name: hostile });
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ message: hostile, name: hostile });
  expect(lines[0]?.slice(0, -1)).toMatch(/^[\x20-\x7e]*$/);
});

test("a file name begins no problem of its own", () => {
  const text = formatProblem({ file: `x${hostile}`, line: 1, message: hostile, remedy: hostile });
  expect(text).toBe(`x${shown}:1: ${shown}\n  ${shown}`);
});
