/** docs/hazards.md has every hazard, and names tests that exist. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { read } from "./markdown.ts";

const page = read("docs/hazards.md");

const rows = page
  .split("\n")
  .filter((line) => /^\| \d+ \|/.test(line))
  .map((line) => {
    const [number, , , proof, ...more] = line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim());
    return { number: Number(number), proof: proof ?? "", cells: more.length };
  });

/** The tests that a row names, as file and title. */
function testsOf(proof: string): { file: string; title: string }[] {
  return Array.from(proof.matchAll(/`(test\/[^`]+)`: "([^"]+)"/g), ([, file = "", title = ""]) => ({ file, title }));
}

/** The numbers that a text refers to: "hazard 8", "hazards 7, 8, 10 and 11". */
function numbersIn(text: string): number[] {
  return Array.from(text.matchAll(/\bhazards? (\d+(?:(?:, | and )\d+)*)/gi), ([, list = ""]) => list)
    .flatMap((list) => list.match(/\d+/g) ?? [])
    .map(Number);
}

test("the page has the hazards 1 to 99, in order, in rows of four cells", () => {
  expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 99 }, (_, index) => index + 1));
  expect(rows.filter(({ cells }) => cells !== 0)).toEqual([]);
});

test("each row names a test, or says that it is open", () => {
  for (const { number, proof } of rows)
    expect(proof.startsWith("open") || testsOf(proof).length > 0, `hazard ${number}`).toBe(true);
});

test("each named test exists, with that title", () => {
  const named = rows.flatMap(({ proof }) => testsOf(proof));
  expect(named.length).toBeGreaterThan(40);
  for (const { file, title } of named) expect(read(file).includes(title), `${file}: ${title}`).toBe(true);
});

test("each hazard that a comment refers to is on the page", () => {
  const known = new Set(rows.map(({ number }) => number));
  const files = ["src", "native", "test"].flatMap((folder) =>
    readdirSync(join(packageRoot, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(ts|mjs|cc|h)$/.test(file))
      .map((file) => `${folder}/${file}`),
  );
  const found = files.flatMap((file) => numbersIn(read(file)).map((number) => ({ file, number })));
  expect(found.length).toBeGreaterThan(30);
  expect(found.filter(({ number }) => !known.has(number))).toEqual([]);
});

test("a list of numbers is read as all of them", () => {
  expect(numbersIn("Hazards 7, 8, 10 and 11: a peer; see hazard 2.")).toEqual([7, 8, 10, 11, 2]);
});
