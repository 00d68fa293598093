/** The user of a server, for the guard. */
import { statSync } from "node:fs";
import type { Owner } from "../../guard/guard.ts";

/** Whose guard processes the server's sockets may make wait: its own user's, also when root has started it. */
export function userOf(pid: number): Owner {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? "stranger";
}
