/** Reads configuration directories. It never writes and never parses. */
import { lstatSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { messageOf } from "../../errors.ts";
import type { ConfigFile, FileCache } from "./file-cache.ts";
import { BERTH_NAME_RULE, parseBerthName } from "./name.ts";
import { compareText, type Report } from "./problem.ts";
import { editDistance } from "./suggest.ts";

/** The drop-ins of one berth, by file name; `directory` is the first they were found in. */
export interface DropIns {
  readonly directory: string;
  readonly files: readonly ConfigFile[];
}

/** Names of files that are looked at without a break. */
const MANY = 256;

/** Everything found, each under its name without `.toml` or `.toml.d`. */
export interface ConfigFiles {
  /** The directories that exist. */
  readonly directories: readonly string[];
  readonly berths: ReadonlyMap<string, ConfigFile>;
  readonly dropIns: ReadonlyMap<string, DropIns>;
}

/**
 * Reads `directories`, given in rising precedence: a file replaces the one of the same name in an earlier directory,
 * and so does a drop-in. A directory that does not exist is skipped. `warn` hears of what is likely a mistake. It stops
 * after each file, and after some names, so that the caller can do something else.
 */
export function* readConfigFiles(
  directories: readonly string[],
  cache: FileCache,
  report: Report,
  warn: Report,
): Generator<undefined, ConfigFiles> {
  const found: string[] = [];
  const berths = new Map<string, string>();
  const dropIns = new Map<string, Map<string, string>>();
  for (const directory of directories) {
    const entries = list(directory, report);
    if (entries === undefined) continue;
    found.push(directory);
    for (const [at, entry] of entries.entries()) {
      if (at % MANY === 0) yield;
      if (entry.startsWith(".")) continue;
      const path = join(directory, entry);
      const suffix = [".toml", ".toml.d"].find((end) => entry.endsWith(end));
      if (suffix === undefined) {
        if (isMisspelt(entry))
          warn(
            { file: path, line: 1 },
            "this file is not read: its name does not end in .toml",
            "rename it, or move it",
          );
        continue;
      }
      const stem = entry.slice(0, -suffix.length);
      if (suffix === ".toml.d" && isFile(path)) continue;
      if (parseBerthName(stem) === undefined) {
        report({ file: path, line: 1 }, `"${stem}" cannot name a berth`, `rename it: ${BERTH_NAME_RULE}`);
      } else if (suffix === ".toml") {
        berths.set(stem, path);
      } else {
        const files = dropIns.get(stem) ?? new Map<string, string>();
        dropIns.set(stem, files);
        for (const name of list(path, report) ?? []) {
          if (name.endsWith(".toml") && !name.startsWith(".")) files.set(name, join(path, name));
        }
      }
    }
  }
  const { read, done } = cache.begin();
  const files = new Map<string, ConfigFile>();
  for (const [stem, path] of berths) {
    files.set(stem, readConfigFile(path, read, report));
    yield;
  }
  const sets = new Map<string, DropIns>();
  for (const [stem, paths] of dropIns) {
    const sorted = [...paths].sort(([a], [b]) => compareText(a, b));
    const set = sorted.map(([, path]) => readConfigFile(path, read, report));
    const first = set[0];
    if (first !== undefined) sets.set(stem, { directory: dirname(first.path), files: set });
    yield;
  }
  done();
  return { directories: found, berths: files, dropIns: sets };
}

/** What cannot be looked at is reported when it is read. */
function isFile(path: string): boolean {
  try {
    return lstatSync(path).isFile();
  } catch {
    return false;
  }
}

/** Whether a name likely should end in `.toml`: arena.tml, arena.TOML. Copies of editors and packages do not count. */
function isMisspelt(name: string): boolean {
  const extension = /\.([A-Za-z]+)$/.exec(name)?.[1]?.toLowerCase();
  return extension !== undefined && editDistance(extension, "toml") <= 1;
}

/** The names of the entries; undefined if there is no such directory, or it cannot be read: then that is reported. */
function list(directory: string, report: Report): string[] | undefined {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") {
      report(
        { file: directory, line: 1 },
        `cannot read this directory: ${messageOf(error)}`,
        "let the broker's user read it (chmod, chown), or remove it",
      );
    }
    return undefined;
  }
}

function readConfigFile(path: string, read: (path: string) => ConfigFile, report: Report): ConfigFile {
  try {
    return read(path);
  } catch (error) {
    report(
      { file: path, line: 1 },
      `cannot read this file: ${messageOf(error)}`,
      remedies.get(codeOf(error)) ?? "make it a text file that the broker may read",
    );
    return { path, content: { kind: "unreadable" } };
  }
}

const remedies: ReadonlyMap<string, string> = new Map([
  ["EACCES", "let the broker's user read it (chmod, chown)"],
  ["ENOENT", "the link leads to a missing file: correct or remove the link"],
  ["ELOOP", "the link leads to itself: correct or remove the link"],
]);

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
