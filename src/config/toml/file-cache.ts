/**
 * Reads configuration files, each again only if it has changed. Only this file and read-files.ts read the disk. What a
 * file held is kept with its inode, size and times (inode(7)). A write that is as recent as the times can tell apart
 * may leave them the same, so a file that was changed shortly before it was read is read again the next time.
 */
import { lstatSync, readFileSync, readlinkSync, type Stats, statSync } from "node:fs";
import { basename } from "node:path";
import { parseBerthName } from "./name.ts";

/** What a `.toml` name leads to. */
export type Content =
  | { readonly kind: "text"; readonly text: string }
  /** A link to /dev/null. */
  | { readonly kind: "null" }
  /** A link to the instance's template, known by its name: the template may be in another directory. */
  | { readonly kind: "template" }
  /** Could not be read; this has been reported. */
  | { readonly kind: "unreadable" };

/** The same object for as long as the file holds the same. */
export interface ConfigFile {
  readonly path: string;
  readonly content: Content;
}

/** What tells that a file has changed. */
type Stamp = Pick<Stats, "dev" | "ino" | "size" | "mtimeMs" | "ctimeMs">;

interface Seen {
  readonly file: ConfigFile;
  /** Undefined: it is to be read again. */
  readonly stamp: Stamp | undefined;
}

/** Longer than any real configuration, so that a wrong link to a data file does not fill the memory. */
const FILE_SIZE_MAX: number = 1024 * 1024;
/** Longer texts are not kept. */
const KEPT_MAX: number = 16 * 1024;
/** Milliseconds. FAT has the coarsest times, of 2 s. */
const RECENT_MS = 3000;

/** What files held when they were read last. */
export class FileCache {
  readonly #readFile: (path: string) => Uint8Array;
  readonly #now: () => number;
  #seen: ReadonlyMap<string, Seen> = new Map();

  /** Tests pass their own. */
  constructor(readFile: (path: string) => Uint8Array = (path) => readFileSync(path), now: () => number = Date.now) {
    this.#readFile = readFile;
    this.#now = now;
  }

  /** Begins to read files again: `read` throws what makes a file unreadable. Call `done` after the last one. */
  begin(): { readonly read: (path: string) => ConfigFile; readonly done: () => void } {
    const before = this.#seen;
    const seen = new Map<string, Seen>();
    const read = (path: string): ConfigFile => {
      const one = this.#readAgain(path, before.get(path));
      seen.set(path, one);
      return one.file;
    };
    return {
      read,
      done: () => {
        this.#seen = seen;
      },
    };
  }

  #readAgain(path: string, before: Seen | undefined): Seen {
    const now = this.#now();
    const own = lstatSync(path);
    const target = own.isSymbolicLink() ? readlinkSync(path) : undefined;
    const name = target === undefined ? undefined : parseBerthName(basename(path, ".toml"));
    if (target !== undefined && name?.kind === "instance" && basename(target) === `${name.template}@.toml`)
      return { file: same(before, { path, content: { kind: "template" } }), stamp: undefined };
    // Checked before it is opened, because opening a FIFO would wait for a writer.
    const status = target === undefined ? own : statSync(path);
    if (status.isCharacterDevice() && status.rdev === statSync("/dev/null").rdev)
      return { file: same(before, { path, content: { kind: "null" } }), stamp: undefined };
    if (!status.isFile()) throw new Error("it is not a regular file");
    if (status.size > FILE_SIZE_MAX) throw new Error(`it is longer than ${FILE_SIZE_MAX} bytes`);
    if (before?.stamp !== undefined && isSameStamp(before.stamp, status)) return before;
    const text = new TextDecoder("utf-8", { fatal: true }).decode(this.#readFile(path));
    const file = same(before, { path, content: { kind: "text", text } });
    const { dev, ino, size, mtimeMs, ctimeMs } = status;
    const isCertain = text.length <= KEPT_MAX && Math.max(mtimeMs, ctimeMs) < now - RECENT_MS;
    return { file, stamp: isCertain ? { dev, ino, size, mtimeMs, ctimeMs } : undefined };
  }
}

function isSameStamp(a: Stamp, b: Stamp): boolean {
  const isSameFile = a.dev === b.dev && a.ino === b.ino;
  return isSameFile && a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs;
}

/** The file as it was known, if it holds the same. */
function same(before: Seen | undefined, file: ConfigFile): ConfigFile {
  if (before === undefined) return file;
  const [had, has] = [before.file.content, file.content];
  const isSame = had.kind === "text" && has.kind === "text" ? had.text === has.text : had.kind === has.kind;
  return isSame ? before.file : file;
}
