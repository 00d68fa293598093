/** What a test has counted, for its reader: scripts/results.mjs prints it at the end of a run. */
import type { TaskMeta } from "vitest";

declare module "vitest" {
  interface TaskMeta {
    /** One line. */
    counts?: string;
  }
}

interface Counted {
  readonly meta: TaskMeta;
}

/** Keeps them with the test: `tell(task, { connects: 4, refused: 0 })`. */
export function tell(task: Counted, counts: Readonly<Record<string, number>>): void {
  task.meta.counts = Object.entries(counts)
    .map(([what, count]) => `${count} ${what}`)
    .join(", ");
}
