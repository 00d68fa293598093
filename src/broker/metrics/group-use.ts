/** What a control group uses (cgroups(7), version 2). A file that is not there says nothing. */
import { join } from "node:path";
import { beginningOf } from "../access/small-file.ts";

export interface GroupUse {
  readonly memory?: number;
  readonly memoryLimit?: number;
  readonly cpuSeconds?: number;
}

const FRESH_MS = 1000;

/** Of many groups: the files of each are read again after a second at the earliest, however often clients ask. */
export class GroupUses {
  #readAt = Number.NEGATIVE_INFINITY;
  #found = new Map<string, GroupUse>();

  /** Of a group's folder. */
  of(folder: string): GroupUse {
    const now = performance.now();
    if (now - this.#readAt >= FRESH_MS) {
      this.#readAt = now;
      this.#found = new Map();
    }
    const known = this.#found.get(folder);
    if (known !== undefined) return known;
    const use = groupUse(folder);
    this.#found.set(folder, use);
    return use;
  }
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
