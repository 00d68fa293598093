/** Adds up the results of several vitest runs, from the JSON each has written, into one line. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [folder] = process.argv.slice(2);
const counts = { passed: 0, failed: 0, skipped: 0 };
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
for (const name of files) {
  for (const file of JSON.parse(readFileSync(join(folder, name), "utf8")).testResults) {
    // A file that could not be run at all has no tests to count, and has failed.
    if (file.assertionResults.length === 0 && file.status === "failed") counts.failed++;
    for (const { status } of file.assertionResults) counts[status in counts ? status : "skipped"]++;
  }
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.passed === 0 || counts.failed > 0 || counts.skipped > 0 ? 1 : 0;
