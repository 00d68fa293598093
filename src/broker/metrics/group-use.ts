/** What a control group uses (cgroups(7), version 2). A file that is not there says nothing. */
import { join } from "node:path";
import { beginningOf } from "../access/small-file.ts";

export interface GroupUse {
  readonly memory?: number;
  readonly memoryLimit?: number;
  readonly cpuSeconds?: number;
}

/** Of a group's folder. */
export function groupUse(folder: string): GroupUse {
  const memory = numberOf(beginningOf(join(folder, "memory.current")));
  const memoryLimit = numberOf(beginningOf(join(folder, "memory.max")));
  const microseconds = numberOf(/^usage_usec (\d+)$/m.exec(beginningOf(join(folder, "cpu.stat")))?.[1]);
  return {
    ...(memory !== undefined && { memory }),
    ...(memoryLimit !== undefined && { memoryLimit }),
    ...(microseconds !== undefined && { cpuSeconds: microseconds / 1_000_000 }),
  };
}

/** Undefined for "max" too: there is no limit. */
function numberOf(text = ""): number | undefined {
  return /^\d+$/.test(text.trim()) ? Number(text) : undefined;
}
