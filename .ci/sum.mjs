/**
 * `sum.mjs FULL BARE [STEP…]`: adds up the results of several vitest runs, from the JSON each has written into these
 * folders: what failed, and one line that counts. It fails when a test failed, none ran, one of FULL was skipped, or a
 * STEP of the gate is given: those failed. In BARE tests are skipped for what the machine lacks: these are counted in a
 * line of their own.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { countOf, readResults, tell } from "../scripts/results.mjs";

const [fullFolder, bareFolder, ...steps] = process.argv.slice(2);
const [full, bare] = [fullFolder, bareFolder].map((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .flatMap((run) => {
      const [version] = run.split("-");
      return readResults(join(folder, run)).map((test) => ({ ...test, name: `${version} ${test.name}` }));
    }),
);
console.log(`with nothing of .ci/packages: ${countOf(bare)}`);
const tests = [...full, ...bare.filter(({ outcome }) => outcome !== "skipped")];
// Such as `npm run check`, or a build that left no results.
if (steps.length > 0 && !tests.some(({ outcome }) => outcome === "failed"))
  tests.push(...steps.map((name) => ({ name: `the step "${name}"`, outcome: "failed", why: "its output says why" })));
for (const step of steps) console.log(`failed step: ${step}`);
const { passed, failed, skipped } = tell(tests);
process.exitCode = passed === 0 || failed > 0 || skipped > 0 || bare.length === 0 ? 1 : 0;
