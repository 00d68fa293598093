/** The tests that `npm run mutate` runs for a room. It passes their patterns (scripts/mutate.mjs). */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: (process.env["BERTHD_MUTATE_TESTS"] ?? "").split(" "),
    // The first measures time, the second starts a broker.
    exclude: ["test/config/many.test.ts", "test/varlink/conformance.test.ts"],
    // One thread for all test files of a change: a thread for each file takes several times longer.
    isolate: false,
    setupFiles: ["test/support/quick-properties.ts"],
    // A test that waits for ever fails before Stryker's own time is over: Stryker would start everything again.
    testTimeout: 8_000,
    hookTimeout: 8_000,
  },
});
