/** How often a test tries a property that needs more examples than others. */
import fc from "fast-check";

/** `most` examples; under `npm run mutate` only as many as quick-properties.ts says. */
export function runs(most: number): number {
  return Math.min(most, fc.readConfigureGlobal()?.numRuns ?? most);
}
