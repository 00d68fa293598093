/** Checks the text of a new berth among the others, and writes its file. It replaces none without being told to. */
import { linkSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Accounts } from "../../accounts.ts";
import { loadConfig } from "../../config/load.ts";
import { formatProblem, type Problem } from "../../config/toml/problem.ts";
import { BerthError } from "../../errors.ts";
import { makeFolders } from "../../make-folders.ts";
import { printable } from "../../printable.ts";

/**
 * The problems that the configuration would have if the file `path` had this text, and has not now. `names` are the
 * berths and templates that are read from it.
 */
export function problemsOf(
  names: readonly string[],
  text: string,
  path: string,
  directories: readonly string[],
  accounts: Accounts,
): readonly Problem[] {
  const folder = mkdtempSync(join(tmpdir(), "berth-new-"));
  try {
    const tried = names.map((name) => join(folder, `${name}.toml`));
    for (const one of tried) writeFileSync(one, text);
    const known = new Set(loadConfig({ directories, accounts }).problems.map(formatProblem));
    const { problems } = loadConfig({ directories: [...directories, folder], accounts });
    const meant = (words: string): string => tried.reduce((all, one) => all.replaceAll(one, path), words);
    return problems
      .map((problem) => ({ ...problem, file: meant(problem.file), message: meant(problem.message) }))
      .filter((problem) => problem.file === path || !known.has(formatProblem(problem)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Writes the file as a whole, or throws. Without `force` a file that is there stays as it is. */
export function writeBerth(path: string, text: string, folder: string, force: boolean): void {
  try {
    makeFolders(folder, 0o755);
    const written = join(folder, `.${process.pid}.new`);
    writeFileSync(written, text, { mode: 0o644 });
    try {
      if (force) renameSync(written, path);
      else linkSync(written, path);
    } finally {
      rmSync(written, { force: true });
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : undefined;
    if (code === undefined) throw error;
    if (code === "EEXIST" && statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw isThere(path);
    throw new BerthError("SYSTEM_ERROR", `cannot write ${printable(path)}: ${code}${remedy(code)}`, { cause: error });
  }
}

/** The refusal to replace a file. */
export function isThere(path: string): BerthError {
  return new BerthError(
    "CONFIG_INVALID",
    `${printable(path)} is there already; edit that file, or add --force to replace it`,
  );
}

function remedy(code: string): string {
  return code === "EACCES" || code === "EROFS" ? "; run it with sudo, or name another folder: --config DIR" : "";
}
