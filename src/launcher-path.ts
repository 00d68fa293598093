/** Where the native programs are: built from source in the package's folder, or prebuilt in the package. */
import { accessSync, constants } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { BerthError } from "./errors.ts";
import { packageRoot } from "./native.ts";

/** The native programs of the package. */
export type ProgramName = "berth-doorman" | "berth-guard" | "berth-launch" | "shift-mount" | "shift-own";

/** The launcher's path. Throws LAUNCHER_MISSING. */
export function launcherPath(root: string = packageRoot): string {
  return programPath("berth-launch", root);
}

/** A native program's path; what was built here goes before what came with the package. Throws LAUNCHER_MISSING. */
export function programPath(name: ProgramName, root: string = packageRoot): string {
  const places = [join(root, "build/Release", name), join(root, `prebuilds/linux-${arch()}`, name)];
  const found = places.find(isExecutable);
  if (found !== undefined) return found;
  throw new BerthError(
    "LAUNCHER_MISSING",
    `${name} is neither at ${places.join(" nor at ")}; build it with \`npm rebuild berthd\`, which needs python3, make and g++`,
  );
}

/** Whether this user may execute the file. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
