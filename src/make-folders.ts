/**
 * Makes a folder and those above it. Node's own `mkdirSync(…, { recursive: true })` never returns where mkdir(2) says
 * ENOENT below a folder that exists, as in /proc (test/make-folders.test.ts).
 */
import { closeSync, constants, fchmodSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Each new folder has exactly this mode, whatever the umask. Does nothing if it exists. Throws what mkdir(2) says. */
export function makeFolders(path: string, mode: number): void {
  try {
    makeFolder(path, mode);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const parent = dirname(path);
    if (code === "ENOENT" && parent !== path && statSync(parent, { throwIfNoEntry: false }) === undefined) {
      makeFolders(parent, mode);
      makeFolder(path, mode);
    } else if (!isFolder(path)) throw error; // also where the file system is read-only
  }
}

/** By descriptor: chmod(2) by path would follow a link that somebody has put in its place. */
function makeFolder(path: string, mode: number): void {
  mkdirSync(path, { mode });
  const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    fchmodSync(folder, mode);
  } finally {
    closeSync(folder);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
