/** The values that readers accept; what they say about others is in ../keys/mistakes.txt. */
import { expect, it } from "vitest";
import type { Problem } from "../../../src/config/toml/problem.ts";
import {
  duration,
  integer,
  listOf,
  octal,
  parseSize,
  type Reader,
  size,
  tableOf,
  text,
  word,
} from "../../../src/config/toml/reader.ts";
import { parseTree } from "../../../src/config/toml/tree.ts";
import { accounts } from "../fixture.ts";

/** What a reader makes of a value as TOML, and how many problems it has reported. */
function read<T>(reader: Reader<T>, toml: string): { value: T | undefined; problems: number } {
  const problems: Problem[] = [];
  const report = ({ file, line }: { file: string; line: number }, message: string, remedy: string): void => {
    problems.push({ file, line, message, remedy });
  };
  const value = parseTree("a.toml", `key = ${toml}`, report)?.entries.get("key");
  if (value === undefined) throw new Error(toml);
  return { value: reader(value, { label: "key", report, accounts }), problems: problems.length };
}

it.each([
  ["0", 0],
  ["4096", 4096],
  ["3K", 3072],
  ["2M", 2_097_152],
  ["1G", 1_073_741_824],
  ["9007199254740991", 9_007_199_254_740_991],
  ["9007199254740992", undefined],
  ["9999999G", undefined],
  ["1T", undefined],
  ["1k", undefined],
  ["1.5M", undefined],
  ["-1", undefined],
  ["", undefined],
  ["M", undefined],
])("a size of %j has %s bytes", (written, bytes) => {
  expect(parseSize(written)).toBe(bytes);
});

it.each([
  ["1", 1],
  ["100", 100],
  ["0", undefined],
  ["101", undefined],
  ['"100"', 100],
  ['"1K"', undefined],
  ["1.5", undefined],
  ["[5]", undefined],
  ["true", undefined],
])("a size up to 100, written %s, is %s", (toml, value) => {
  expect(read(size(100), toml)).toEqual({ value, problems: value === undefined ? 1 : 0 });
});

it.each([
  ['"1s"', 1],
  ['"100s"', 100],
  ['"101s"', undefined],
  ['"0s"', undefined],
  ['"1min"', 60],
  ['"2min"', undefined],
  ['"1 s"', undefined],
  ["[]", undefined],
])("a time up to 100 seconds, written %s, is %s", (toml, value) => {
  expect(read(duration(100), toml)).toEqual({ value, problems: value === undefined ? 1 : 0 });
});

it("an hour has 3600 seconds", () => {
  expect(read(duration(9999), '"2h"').value).toBe(7200);
});

it.each([
  ["2", 2],
  ["3", 3],
  ["1", undefined],
  ["4", undefined],
  ["2.5", undefined],
  ['"2"', undefined],
  ["[2]", undefined],
])("a number from 2 to 3, written %s, is %s", (toml, value) => {
  expect(read(integer(2, 3), toml)).toEqual({ value, problems: value === undefined ? 1 : 0 });
});

it.each([
  ['"0660"', 0o660],
  ['"660"', 0o660],
  ['"0777"', 0o777],
  ['"1660"', undefined],
  ['"66"', undefined],
  ['"668"', undefined],
  ["660", undefined],
  ["[]", undefined],
])("permissions written %s are %s", (toml, value) => {
  expect(read(octal, toml)).toEqual({ value, problems: value === undefined ? 1 : 0 });
});

it("what cannot be read of an array or table is left out, and reported each", () => {
  expect(read(listOf(text), '["a", 1, "b", 2]')).toEqual({ value: ["a", "b"], problems: 2 });
  expect(read(listOf(word("a", "b")), '["a", "c"]')).toEqual({ value: ["a"], problems: 1 });
  const table = read(
    tableOf((_, value, reading) => text(value, reading)),
    '{ a = "x", b = 1 }',
  );
  expect(table).toEqual({ value: new Map([["a", "x"]]), problems: 1 });
});
