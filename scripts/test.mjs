#!/usr/bin/env node
/**
 * `npm test`: makes what is missing, runs vitest, and ends with one line that counts. Further arguments are vitest's:
 * `npm test -- test/cli`. It fails when a test fails, when none ran, and under CI=true when one was skipped.
 */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { main, prepare, root, Sentence } from "./prepare.mjs";

await main(async () => {
  await prepare();
  const folder = mkdtempSync(join(tmpdir(), "berthd-test-"));
  try {
    const file = join(folder, "results.json");
    const code = await vitest([
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
      ...process.argv.slice(2),
    ]);
    // Whoever adds up several runs wants each one's results.
    const keep = process.env.BERTHD_TEST_RESULTS;
    if (keep !== undefined && existsSync(file)) copyFileSync(file, join(keep, `${basename(folder)}.json`));
    return report(code, results(file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function vitest(args) {
  const child = spawn(process.execPath, [join(root, "node_modules/vitest/vitest.mjs"), ...args], {
    cwd: root,
    stdio: "inherit",
  });
  // Ctrl-C reaches vitest too; it ends by itself, and we after it.
  process.on("SIGINT", () => undefined);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

/** [name, outcome] of every test; a file that could not be run at all counts as one that failed. */
function results(file) {
  let files;
  try {
    files = JSON.parse(readFileSync(file, "utf8")).testResults;
  } catch (cause) {
    throw new Sentence(`vitest wrote no results, so no test can be counted (${cause.message})`);
  }
  return files.flatMap(({ name, status, message, assertionResults: tests }) =>
    tests.length === 0 && status === "failed"
      ? [[`${name}: ${message}`, "failed"]]
      : tests.map((test) => [
          [name.replace(root, ""), ...test.ancestorTitles, test.title].join(" > "),
          outcome(test.status),
        ]),
  );
}

function outcome(status) {
  return status === "passed" || status === "failed" ? status : "skipped";
}

function report(code, tests) {
  const of = (wanted) => tests.filter(([, outcome]) => outcome === wanted);
  const [passed, failed, skipped] = ["passed", "failed", "skipped"].map(of);
  for (const [name] of skipped) console.log(`skipped: ${name}`);
  const strict = process.env.CI === "true" && skipped.length > 0;
  if (strict) console.log("with CI=true nothing may be skipped");
  if (passed.length + failed.length === 0) console.log("no test ran");
  console.log(`${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
  return code !== 0 || failed.length > 0 || strict || passed.length === 0 ? code || 1 : 0;
}
