/** Reads configuration directories. Only this file of the folder reads the disk. It never writes and never parses. */
import { type Dirent, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BERTH_NAME_RULE, parseBerthName } from "./name.ts";
import { compareText, type Report } from "./problem.ts";
import { editDistance } from "./suggest.ts";

/** What a `.toml` name leads to. */
export type Content =
  | { readonly kind: "text"; readonly text: string }
  /** A link to /dev/null. */
  | { readonly kind: "null" }
  /** A link to the instance's template, known by its name: the template may be in another directory. */
  | { readonly kind: "template" }
  /** Could not be read; this has been reported. */
  | { readonly kind: "unreadable" };

export interface ConfigFile {
  readonly path: string;
  readonly content: Content;
}

/** The drop-ins of one berth, by file name; `directory` is the first they were found in. */
export interface DropIns {
  readonly directory: string;
  readonly files: readonly ConfigFile[];
}

/** Everything found, each under its name without `.toml` or `.toml.d`. */
export interface ConfigFiles {
  /** The directories that exist. */
  readonly directories: readonly string[];
  readonly berths: ReadonlyMap<string, ConfigFile>;
  readonly dropIns: ReadonlyMap<string, DropIns>;
}

/** Longer than any real configuration, so that a wrong link to a data file does not fill the memory. */
const FILE_SIZE_MAX: number = 1024 * 1024;

/**
 * Reads `directories`, given in rising precedence: a file replaces the one of the same name in an earlier directory,
 * and so does a drop-in. A directory that does not exist is skipped. `warn` hears of what is likely a mistake.
 */
export function readConfigFiles(directories: readonly string[], report: Report, warn: Report): ConfigFiles {
  const found: string[] = [];
  const berths = new Map<string, string>();
  const dropIns = new Map<string, Map<string, string>>();
  for (const directory of directories) {
    const entries = list(directory, report);
    if (entries === undefined) continue;
    found.push(directory);
    for (const entry of entries) {
      const path = join(directory, entry.name);
      const [stem = "", suffix] = entry.name.split(/(\.toml(?:\.d)?)$/);
      if (entry.name.startsWith(".")) continue;
      if (suffix === undefined) {
        if (isMisspelt(entry.name))
          warn(
            { file: path, line: 1 },
            "this file is not read: its name does not end in .toml",
            "rename it, or move it",
          );
        continue;
      }
      if (suffix === ".toml.d" && entry.isFile()) continue;
      if (parseBerthName(stem) === undefined) {
        report({ file: path, line: 1 }, `"${stem}" cannot name a berth`, `rename it: ${BERTH_NAME_RULE}`);
      } else if (suffix === ".toml") {
        berths.set(stem, path);
      } else {
        const files = dropIns.get(stem) ?? new Map<string, string>();
        dropIns.set(stem, files);
        for (const { name } of list(path, report) ?? []) {
          if (name.endsWith(".toml") && !name.startsWith(".")) files.set(name, join(path, name));
        }
      }
    }
  }
  return {
    directories: found,
    berths: new Map([...berths].map(([stem, path]) => [stem, readConfigFile(path, report)])),
    dropIns: new Map([...dropIns].flatMap(([stem, files]) => readDropIns(stem, files, report))),
  };
}

function readDropIns(stem: string, files: ReadonlyMap<string, string>, report: Report): [string, DropIns][] {
  const sorted = [...files].sort(([a], [b]) => compareText(a, b)).map(([, path]) => readConfigFile(path, report));
  const first = sorted[0];
  return first === undefined ? [] : [[stem, { directory: dirname(first.path), files: sorted }]];
}

/** Whether a name likely should end in `.toml`: arena.tml, arena.TOML. Copies of editors and packages do not count. */
function isMisspelt(name: string): boolean {
  const extension = /\.([A-Za-z]+)$/.exec(name)?.[1]?.toLowerCase();
  return extension !== undefined && editDistance(extension, "toml") <= 1;
}

/** The entries; undefined if there is no such directory, or it cannot be read: then that is reported. */
function list(directory: string, report: Report): Dirent[] | undefined {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (codeOf(error) !== "ENOENT") {
      report(
        { file: directory, line: 1 },
        `cannot read this directory: ${reasonOf(error)}`,
        "let the broker's user read it (chmod, chown), or remove it",
      );
    }
    return undefined;
  }
}

function readConfigFile(path: string, report: Report): ConfigFile {
  try {
    return { path, content: readContent(path) };
  } catch (error) {
    report(
      { file: path, line: 1 },
      `cannot read this file: ${reasonOf(error)}`,
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

function readContent(path: string): Content {
  const target = linkTarget(path);
  const name = parseBerthName(basename(path, ".toml"));
  if (target !== undefined && name?.kind === "instance" && basename(target) === `${name.template}@.toml`) {
    return { kind: "template" };
  }
  // Checked before it is opened, because opening a FIFO would wait for a writer.
  const status = statSync(path);
  if (status.isCharacterDevice() && status.rdev === statSync("/dev/null").rdev) return { kind: "null" };
  if (!status.isFile()) throw new Error("it is not a regular file");
  if (status.size > FILE_SIZE_MAX) throw new Error(`it is longer than ${FILE_SIZE_MAX} bytes`);
  return { kind: "text", text: new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path)) };
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    // readlink(2) fails with EINVAL if it is not a link.
    if (codeOf(error) === "EINVAL") return undefined;
    throw error;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
