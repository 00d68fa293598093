/**
 * For `npm run mutate`, which runs properties thousands of times: fewer examples, the same ones each time, and no
 * search for a smaller one.
 */
import fc from "fast-check";

fc.configureGlobal({ numRuns: 30, seed: 1, endOnFailure: true });
