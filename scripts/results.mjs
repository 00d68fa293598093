/** The results that vitest writes as JSON, and how they are told in the last lines of a log. */
import { readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";

/** `{ name, outcome, why }` of every test; a file that could not be run at all counts as one that failed. */
export function readResults(file) {
  return JSON.parse(readFileSync(file, "utf8")).testResults.flatMap(
    ({ name: path, status, message, assertionResults: tests }) => {
      const name = path.replace(/^.*\/(?=test\/)/, "");
      if (tests.length === 0 && status === "failed") return [{ name, outcome: "failed", why: firstLine(message) }];
      return tests.map((test) => ({
        name: [name, ...test.ancestorTitles, test.title].join(" > "),
        outcome: test.status === "passed" || test.status === "failed" ? test.status : "skipped",
        why: firstLine(test.failureMessages?.[0]),
      }));
    },
  );
}

/** Prints what was skipped or failed, then the line that counts. Returns the counts. */
export function tell(tests) {
  const of = (wanted) => tests.filter(({ outcome }) => outcome === wanted);
  const [passed, failed, skipped] = ["passed", "failed", "skipped"].map(of);
  for (const { name } of skipped) console.log(`skipped: ${name}`);
  for (const { name, why } of failed) console.log(`failed: ${name}\n    ${why}`);
  console.log(`${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
  return { passed: passed.length, failed: failed.length, skipped: skipped.length };
}

function firstLine(message = "") {
  const line = stripVTControlCharacters(message).trim().split("\n")[0] ?? "";
  return line.length > 300 ? `${line.slice(0, 300)} …` : line;
}
