/** Adds up the results of several vitest runs, from the JSON each has written: what failed, and one line that counts. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { readResults, tell } from "../scripts/results.mjs";

const [folder] = process.argv.slice(2);
const runs = readdirSync(folder).filter((name) => name.endsWith(".json"));
const { passed, failed, skipped } = tell(
  runs.sort().flatMap((run) => {
    const [version] = run.split("-");
    return readResults(join(folder, run)).map((test) => ({ ...test, name: `${version} ${test.name}` }));
  }),
);
process.exitCode = passed === 0 || failed > 0 || skipped > 0 ? 1 : 0;
