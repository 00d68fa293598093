/** How many files this process may open. */
import { readFileSync } from "node:fs";
import { check } from "../../../errors.ts";

/** Soft RLIMIT_NOFILE; Node has no getrlimit(2). */
export function maxOpenFiles(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return check("getrlimit", limit === undefined ? Number.MAX_SAFE_INTEGER : Number(limit));
}
