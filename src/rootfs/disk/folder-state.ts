/** Tells whether a folder is still the one that was looked at. It never opens it. */
import { statSync } from "node:fs";
import { system } from "./durable.ts";

/**
 * A text that changes when the folder is replaced, or when its owner, mode or entries change. Undefined if no folder
 * has this path.
 */
export function folderState(path: string): string | undefined {
  const found = system(path, () => statSync(path, { bigint: true, throwIfNoEntry: false }));
  return found?.isDirectory() === true ? `${found.dev}:${found.ino}:${found.ctimeNs}` : undefined;
}
