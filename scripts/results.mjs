/** The results that vitest writes as JSON, and how they are told in the last lines of a log. */
import { readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";

/**
 * `{ name, outcome, why, counts }` of every test. `why` also says what a skipped one needs (test/support/needs.ts);
 * `counts` is what it has counted, if it says so (test/support/counts.ts). A file that
 * failed though none of its tests did counts as one more that failed: it could not be run, or a hook failed, and then
 * vitest calls the tests behind it skipped.
 */
export function readResults(file) {
  return JSON.parse(readFileSync(file, "utf8")).testResults.flatMap(
    ({ name: path, status, message, assertionResults: tests }) => {
      const name = path.replace(/^.*\/(?=test\/)/, "");
      const results = tests.map((test) => ({
        name: [name, ...test.ancestorTitles, test.title].join(" > "),
        outcome: test.status === "passed" || test.status === "failed" ? test.status : "skipped",
        why: test.meta?.needs ?? beginningOf(test.failureMessages?.[0]),
        counts: test.meta?.counts,
      }));
      if (status === "failed" && !tests.some((test) => test.status === "failed"))
        results.push({
          name,
          outcome: "failed",
          why: beginningOf(message) || "a hook failed: vitest says above which",
        });
      return results;
    },
  );
}

/** Prints what tests have counted, what was skipped or failed, then the line that counts. Returns the counts. */
export function tell(tests) {
  for (const { name, counts } of tests) if (counts !== undefined) console.log(`counted: ${name}\n    ${counts}`);
  for (const { name, why } of of(tests, "skipped")) console.log(`skipped: ${name}${why && `\n    ${why}`}`);
  for (const { name, why } of of(tests, "failed")) console.log(`failed: ${name}\n    ${why}`);
  console.log(countOf(tests));
  const [passed, failed, skipped] = OUTCOMES.map((outcome) => of(tests, outcome).length);
  return { passed, failed, skipped };
}

/** `1 passed, 0 failed, 0 skipped`. */
export function countOf(tests) {
  return OUTCOMES.map((outcome) => `${of(tests, outcome).length} ${outcome}`).join(", ");
}

const OUTCOMES = ["passed", "failed", "skipped"];

function of(tests, wanted) {
  return tests.filter(({ outcome }) => outcome === wanted);
}

/** The first lines of a message, without the place in the code. */
function beginningOf(message = "") {
  const text = stripVTControlCharacters(message).split("\n    at ", 1)[0].trim();
  const said = text.split("\n").slice(0, 15).join("\n    ");
  return said.length > 1500 ? `${said.slice(0, 1500)} …` : said;
}
