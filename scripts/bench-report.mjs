#!/usr/bin/env node
/**
 * `npm run bench:report`: makes the tables and pictures of docs/benchmarks.md from bench/results, which the benchmarks
 * fill with `--save`. With `--check` it writes nothing, and exits 1 if the documentation is not what it would write.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makePage, PICTURES } from "../bench/docs/page.mjs";
import { load } from "../bench/results.mjs";

const docs = join(import.meta.dirname, "../docs");
const pictures = join(docs, PICTURES);
const { check } = parseArgs({ options: { check: { type: "boolean", default: false } } }).values;

const path = join(docs, "benchmarks.md");
const before = readFileSync(path, "utf8");
const { page, svgs } = makePage(before, load);
const files = existsSync(pictures) ? readdirSync(pictures) : [];
const present = new Map(files.map((name) => [name, readFileSync(join(pictures, name), "utf8")]));

const outdated = [
  ...(page === before ? [] : ["benchmarks.md"]),
  ...[...svgs].filter(([name, svg]) => present.get(name) !== svg).map(([name]) => `${PICTURES}/${name}`),
];
const unused = [...present.keys()].filter((name) => !svgs.has(name));

if (check) {
  for (const name of outdated) console.error(`docs/${name} is not what bench/results say: npm run bench:report`);
  for (const name of unused) console.error(`docs/${PICTURES}/${name} is shown by no page: npm run bench:report`);
  process.exitCode = outdated.length + unused.length > 0 ? 1 : 0;
} else {
  mkdirSync(pictures, { recursive: true });
  writeFileSync(path, page);
  for (const [name, svg] of svgs) writeFileSync(join(pictures, name), svg);
  for (const name of unused) rmSync(join(pictures, name));
  console.log(outdated.length + unused.length === 0 ? "nothing has changed" : [...outdated, ...unused].join("\n"));
}
