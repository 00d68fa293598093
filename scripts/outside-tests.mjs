/**
 * A reporter of vitest: what failed outside tests, such as a rejection that nobody handled or a worker that died.
 * vitest's own JSON leaves it out, though the run fails. Written to BERTHD_TEST_OUTSIDE as results of files
 * (results.mjs).
 */
import { writeFileSync } from "node:fs";

export default class OutsideTests {
  onTestRunEnd(files, errors) {
    const unfinished = files.filter((file) => ["queued", "pending"].includes(file.state()));
    const names = unfinished.map((file) => file.relativeModuleId);
    writeFileSync(process.env.BERTHD_TEST_OUTSIDE, JSON.stringify(errors.map((error) => resultOf(error, names))));
  }
}

/** A file that failed, though none of its tests did. `VITEST_TEST_PATH` and `…_NAME` say what ran at that time. */
function resultOf(error, unfinished) {
  const during = error.VITEST_TEST_NAME;
  const lines = [`${error.type ?? "Error"}${during === undefined ? "" : `, and the last test was: ${during}`}`];
  for (let one = error; one && lines.length < 12; one = one.cause) {
    const calls = String(one.stack).split("\n");
    const ours = calls.find((call) => /\/(src|test|packages|scripts)\//.test(call) && !call.includes("/node_modules/"));
    const [place] = ours?.match(/\b(?:src|test|packages|scripts)\/.+?:\d+/) ?? [];
    lines.push(String(one.message ?? one), ...(place === undefined ? [] : [`  at ${place}`]));
  }
  if (error.VITEST_TEST_PATH === undefined && unfinished.length > 0) lines.push(`not ended: ${unfinished.join(" ")}`);
  return {
    name: error.VITEST_TEST_PATH ?? "outside tests",
    status: "failed",
    message: lines.join("\n"),
    assertionResults: [],
  };
}
