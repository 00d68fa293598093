/**
 * Makes a folder and those above it. Node's own `mkdirSync(…, { recursive: true })` never returns where mkdir(2) says
 * ENOENT below a folder that exists, as in /proc (test/make-folders.test.ts).
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Does nothing if it exists. Throws what mkdir(2) says. */
export function makeFolders(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const parent = dirname(path);
    if (code === "ENOENT" && parent !== path && statSync(parent, { throwIfNoEntry: false }) === undefined) {
      makeFolders(parent, mode);
      mkdirSync(path, { mode });
    } else if (!isFolder(path)) throw error; // also where the file system is read-only
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
