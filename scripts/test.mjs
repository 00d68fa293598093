#!/usr/bin/env node
/**
 * `npm test`: makes what is missing, runs vitest, and ends with one line that counts. Further arguments are vitest's:
 * `npm test -- test/cli`. It fails when a test fails, when none ran, and under CI=true when one was skipped.
 */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { main, prepare, root, Sentence } from "./prepare.mjs";
import { readResults, tell } from "./results.mjs";

await main(async () => {
  await prepare();
  const folder = mkdtempSync(join(tmpdir(), "berthd-test-"));
  try {
    const file = join(folder, "results.json");
    process.env.BERTHD_TEST_OUTSIDE = join(folder, "outside.json");
    const code = await vitest([
      "run",
      "--reporter=default",
      "--reporter=json",
      `--reporter=${join(root, "scripts/outside-tests.mjs")}`,
      `--outputFile.json=${file}`,
      ...process.argv.slice(2),
    ]);
    if (existsSync(file)) addOutside(file, code);
    // A caller that adds up several runs wants the results of each.
    const keep = process.env.BERTHD_TEST_RESULTS;
    if (keep !== undefined && existsSync(file)) {
      copyFileSync(file, join(keep, `${process.version}-${basename(folder)}.json`));
    }
    return report(code, file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function vitest(args) {
  // Newer Nodes read that file on a thread of their own, and a test would count its descriptor among those it left
  // open. npm wants it: test/package.test.ts gives it back.
  const { NODE_EXTRA_CA_CERTS: certificates, ...env } = process.env;
  if (certificates !== undefined) env.BERTHD_TEST_CA_CERTS = certificates;
  const child = spawn(process.execPath, [join(root, "node_modules/vitest/vitest.mjs"), ...args], {
    cwd: root,
    env,
    stdio: "inherit",
  });
  // Ctrl-C reaches vitest too; it ends by itself, and we after it.
  process.on("SIGINT", () => undefined);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

/** Adds what failed outside tests to the results: a run that fails says why in its last lines, and in the gate's. */
function addOutside(file, code) {
  const results = JSON.parse(readFileSync(file, "utf8"));
  const outside = process.env.BERTHD_TEST_OUTSIDE;
  const failed = existsSync(outside) ? JSON.parse(readFileSync(outside, "utf8")) : [];
  const known = [...results.testResults, ...failed].some(({ status }) => status === "failed");
  if (code !== 0 && !known && results.testResults.length > 0)
    failed.push({
      name: "vitest",
      status: "failed",
      message: `it ended with ${code}, and says above why`,
      assertionResults: [],
    });
  results.testResults.push(...failed);
  writeFileSync(file, JSON.stringify(results));
}

function report(code, file) {
  let tests;
  try {
    tests = readResults(file);
  } catch (cause) {
    throw new Sentence(`vitest wrote no results, so no test can be counted (${cause.message})`);
  }
  const has = (wanted) => tests.some(({ outcome }) => outcome === wanted);
  const strict = process.env.CI === "true" && has("skipped");
  const none = !has("passed") && !has("failed");
  if (strict) console.log("with CI=true nothing may be skipped");
  if (none) console.log("no test ran");
  tell(tests);
  return code !== 0 || has("failed") || strict || none ? code || 1 : 0;
}
