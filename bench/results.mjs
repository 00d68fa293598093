/**
 * What a benchmark found: printed, and with `--save` kept as `bench/results/NAME.json`. `npm run bench:report` makes
 * the tables and pictures of docs/ from these files.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderers } from "./renderers.mjs";

const folder = join(import.meta.dirname, "results");
const pathOf = (name) => join(folder, `${name}.json`);

/**
 * Prints the result of a benchmark, which has the `machine` it was measured on: as a table, or with `json` as JSON.
 * With `save` it also replaces the file from which the documentation is made.
 */
export function publish(name, { json, save }, { machine, ...figures }) {
  const result = { bench: name, date: new Date().toISOString().slice(0, 10), machine, ...figures };
  const text = JSON.stringify(result, rounded, 2);
  if (save) writeFileSync(pathOf(name), `${text}\n`);
  console.log(json ? text : renderers[name](result));
}

/** The saved result of a benchmark. */
export function load(name) {
  return JSON.parse(readFileSync(pathOf(name), "utf8"));
}

/** Six digits tell more than any of these figures does. */
function rounded(_, value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}
