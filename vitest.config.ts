/** Tests run in processes of their own: they count their descriptors, change signal handlers, and start brokers. */
import { defineConfig } from "vitest/config";

/** They measure time or memory, or build with every processor: nothing else runs beside them, each other included. */
const alone = [
  "test/attacks/{agent,fuzz-wire,held-lock,last-closer,many-at-once,slow-close}.test.ts",
  "test/attacks/{unanswered-file,unfinished-exec}.test.ts",
  "test/broker/session/floods.test.ts",
  "test/e2e/death.test.ts",
  "test/e2e/scale.test.ts",
  "test/arm64.test.ts",
  "test/package.test.ts",
  "test/web/attacks.test.ts",
];

// It injects faults into system calls that a sanitizer's own start-up makes (.ci/sanitize). --exclude would not do: it
// does not reach projects.
const unsanitized = process.env["BERTHD_SANITIZED"] === "1" ? ["test/launch/step-fails.test.ts"] : [];

// They bring a Node of their own, or show what no Node is part of: the page in a browser, the shift programs. One run
// of the suite is enough (.ci/run).
const ownNode = [
  "test/arm64.test.ts",
  "test/shift/*.test.ts",
  "test/systemd/boot/deb.test.ts",
  "test/web/page/views.test.ts",
];
const excluded = [...unsanitized, ...(process.env["BERTHD_OTHER_NODE"] === "1" ? ownNode : [])];

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    // A limit ends what hangs. It is no part of a test how long what must come takes: a loaded machine needs 20 s for it.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000, interval: 20 } },
    projects: [
      {
        extends: true,
        test: { name: "together", include: ["test/**/*.test.ts"], exclude: [...alone, ...excluded] },
      },
      {
        extends: true,
        test: { name: "alone", include: alone, exclude: excluded, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
