/**
 * `sum.mjs FULL BARE`: adds up the results of several vitest runs, from the JSON each has written into these folders: what
 * failed, and one line that counts. It fails when a test failed, none ran, or one of FULL was skipped. In BARE tests
 * are skipped for what the machine lacks: these are counted in a line of their own.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { countOf, readResults, tell } from "../scripts/results.mjs";

const [full, bare] = process.argv.slice(2).map((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .flatMap((run) => {
      const [version] = run.split("-");
      return readResults(join(folder, run)).map((test) => ({ ...test, name: `${version} ${test.name}` }));
    }),
);
console.log(`with nothing of .ci/packages: ${countOf(bare)}`);
const { passed, failed, skipped } = tell([...full, ...bare.filter(({ outcome }) => outcome !== "skipped")]);
process.exitCode = passed === 0 || failed > 0 || skipped > 0 || bare.length === 0 ? 1 : 0;
