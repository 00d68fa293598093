/** Reads configuration directories. The only file here that touches the disk; it never writes, and never interprets a text. */
import { type Dirent, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BERTH_NAME_RULE, parseBerthName } from "./name.ts";
import { compareText, type Report } from "./problem.ts";

/** What stands behind a `.toml` name. */
export type Content =
  | { readonly kind: "text"; readonly text: string }
  /** A link to /dev/null. */
  | { readonly kind: "null" }
  /** The link of an instance to its template, by name: it may stand in another directory than the template. */
  | { readonly kind: "template" }
  /** Could not be read, which has been reported. */
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
  readonly berths: ReadonlyMap<string, ConfigFile>;
  readonly dropIns: ReadonlyMap<string, DropIns>;
}

/** Longer than any real configuration: a mistaken link to a data file must not fill the memory. */
const FILE_SIZE_MAX: number = 1024 * 1024;

/**
 * Reads `directories`, given in rising precedence: a file replaces the one of the same name in an earlier directory,
 * and so does a drop-in. A directory that does not exist is passed over.
 */
export function readConfigFiles(directories: readonly string[], report: Report): ConfigFiles {
  const berths = new Map<string, string>();
  const dropIns = new Map<string, Map<string, string>>();
  for (const directory of directories) {
    for (const entry of list(directory, report)) {
      const path = join(directory, entry.name);
      const [stem = "", suffix] = entry.name.split(/(\.toml(?:\.d)?)$/);
      if (suffix === undefined || entry.name.startsWith(".")) continue;
      if (suffix === ".toml.d" && entry.isFile()) continue;
      if (parseBerthName(stem) === undefined) {
        report({ file: path, line: 1 }, `"${stem}" cannot name a berth`, `rename it: ${BERTH_NAME_RULE}`);
      } else if (suffix === ".toml") {
        berths.set(stem, path);
      } else {
        const files = dropIns.get(stem) ?? new Map<string, string>();
        dropIns.set(stem, files);
        for (const { name } of list(path, report)) {
          if (name.endsWith(".toml") && !name.startsWith(".")) files.set(name, join(path, name));
        }
      }
    }
  }
  return {
    berths: new Map([...berths].map(([stem, path]) => [stem, readConfigFile(path, report)])),
    dropIns: new Map([...dropIns].flatMap(([stem, files]) => readDropIns(stem, files, report))),
  };
}

function readDropIns(stem: string, files: ReadonlyMap<string, string>, report: Report): [string, DropIns][] {
  const sorted = [...files].sort(([a], [b]) => compareText(a, b)).map(([, path]) => readConfigFile(path, report));
  const first = sorted[0];
  return first === undefined ? [] : [[stem, { directory: dirname(first.path), files: sorted }]];
}

function list(directory: string, report: Report): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (codeOf(error) !== "ENOENT") {
      report(
        { file: directory, line: 1 },
        `cannot read this directory: ${reasonOf(error)}`,
        "make it a directory that the broker may read",
      );
    }
    return [];
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
  ["ENOENT", "it is a link to nothing: correct or remove the link"],
  ["ELOOP", "it is a link to itself: correct or remove the link"],
]);

function readContent(path: string): Content {
  const target = linkTarget(path);
  const name = parseBerthName(basename(path, ".toml"));
  if (target !== undefined && name?.kind === "instance" && basename(target) === `${name.template}@.toml`) {
    return { kind: "template" };
  }
  // Looked at before it is opened: opening a fifo would wait for a writer.
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
    // readlink(2) says EINVAL of what is no link.
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
