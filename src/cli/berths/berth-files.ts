/** The configuration files of one berth: found, set aside while the broker reloads, and then removed or put back. */
import { lstatSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BerthError } from "../../errors.ts";

/**
 * What configures the berth in the operator's folder, the last one: its file and its folder of drop-ins. Throws
 * CONFIG_INVALID if there is none, or if a folder before has it as well.
 */
export function filesOf(berth: string, directories: readonly string[]): readonly string[] {
  const own = directories.at(-1) ?? "";
  const packaged = directories.slice(0, -1).flatMap((folder) => presentIn(folder, berth));
  if (packaged[0] !== undefined) {
    const message = `${packaged[0]} belongs to a package, so it stays; to have no such berth: ln -sf /dev/null ${join(own, `${berth}.toml`)} && berth reload`;
    throw new BerthError("CONFIG_INVALID", message);
  }
  const files = presentIn(own, berth);
  if (files.length > 0) return files;
  throw new BerthError("CONFIG_INVALID", `there is no ${join(own, `${berth}.toml`)}, so there is nothing to remove`);
}

/** Whether any of the folders has a file or drop-ins of the berth. */
export function isConfigured(berth: string, directories: readonly string[]): boolean {
  return directories.some((folder) => presentIn(folder, berth).length > 0);
}

function presentIn(folder: string, berth: string): string[] {
  const paths = [`${berth}.toml`, `${berth}.toml.d`].map((name) => join(folder, name));
  return paths.filter((path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined);
}

/** Hides the files from the broker while `action` runs. Removes them after it, or puts them back if it throws. */
export async function withoutFiles<T>(files: readonly string[], action: () => Promise<T>): Promise<T> {
  const hidden: string[] = [];
  try {
    for (const path of files) {
      move(path, hiddenName(path));
      hidden.push(path);
    }
    const result = await action();
    for (const path of hidden) rmSync(hiddenName(path), { recursive: true, force: true });
    return result;
  } catch (error) {
    for (const path of hidden) if (lstatSync(hiddenName(path), { throwIfNoEntry: false })) move(hiddenName(path), path);
    throw error;
  }
}

/** No file whose name begins with a dot is read. */
function hiddenName(path: string): string {
  return join(dirname(path), `.${basename(path)}.removed`);
}

function move(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new BerthError("SYSTEM_ERROR", `cannot remove ${from}: ${why}`, { cause: error });
  }
}
