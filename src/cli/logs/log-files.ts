/**
 * Reads the log of one server that `berth-launch --log` writes: NAME.log, and before it NAME.log.1 to NAME.log.4. It is
 * rotated at any time, so files are told apart by inode.
 */
import { closeSync, constants, fstatSync, openSync, readSync, watch } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { type LogLine, parseLogLine } from "./log-line.ts";

const OLD_FILES = 4;
/** No line is longer: 16 KiB, of which each byte may be escaped with four. */
const CHUNK_BYTES = 131_072;
const NEWLINE = 10;

/** What to show of what is there. */
export interface Selection {
  readonly lines: number;
  readonly since?: Date | undefined;
}

/** The name of a berth's log in the folder of logs. */
export function logName(berth: string): string {
  return `${berth}.log`;
}

/** The names that a berth's log can have, the newest first. */
export function logNames(berth: string): string[] {
  return [logName(berth), ...Array.from({ length: OLD_FILES }, (_, index) => `${logName(berth)}.${index + 1}`)];
}

/** One file of a log, and how far it was read. */
class LogPart implements Disposable {
  readonly #fd: number;
  readonly inode: bigint;
  readonly #chunk = Buffer.alloc(CHUNK_BYTES);
  /** The end of the last whole line. Half a line may be taken back, where the disk is full. */
  #offset = 0;

  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    this.inode = fstatSync(this.#fd, { bigint: true }).ino;
  }

  /** Whole lines that were not read before; none at the end of what is there. */
  next(): string[] {
    const count = readSync(this.#fd, this.#chunk, 0, CHUNK_BYTES, this.#offset);
    const end = this.#chunk.subarray(0, count).lastIndexOf(NEWLINE) + 1;
    this.#offset += end;
    return end === 0 ? [] : this.#chunk.toString("utf8", 0, end - 1).split("\n");
  }

  /** All lines from where it is. */
  all(): string[] {
    const lines: string[] = [];
    for (let some = this.next(); some.length > 0; some = this.next()) lines.push(...some);
    return lines;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** The files, the newest first. A rotation meanwhile shows no file twice and skips none. */
function openParts(folder: string, berth: string): LogPart[] {
  const parts: LogPart[] = [];
  for (const name of logNames(berth)) {
    const part = openPart(join(folder, name));
    if (part === undefined) continue;
    if (parts.some(({ inode }) => inode === part.inode)) part[Symbol.dispose]();
    else parts.push(part);
  }
  return parts;
}

function openPart(path: string): LogPart | undefined {
  try {
    return new LogPart(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    const remedy = code === "EACCES" ? "; run it with sudo" : "";
    throw new BerthError("SYSTEM_ERROR", `cannot read ${printable(path)}: ${code}${remedy}`, { cause: error });
  }
}

/** A log that is being read. Undefined if there is none. */
export class LogReader implements Disposable {
  readonly #folder: string;
  readonly #berth: string;
  #part: LogPart;

  private constructor(folder: string, berth: string, part: LogPart) {
    this.#folder = folder;
    this.#berth = berth;
    this.#part = part;
  }

  /** The selected lines of what is there, and a reader of what comes after. */
  static open(
    folder: string,
    berth: string,
    selection: Selection,
  ): { reader: LogReader; lines: LogLine[] } | undefined {
    const [newest, ...older] = openParts(folder, berth);
    if (newest === undefined) return undefined;
    let lines = select(parsed(newest.all()), selection);
    for (const part of older) {
      using _ = part;
      if (lines.length < selection.lines) lines = select([...parsed(part.all()), ...lines], selection);
    }
    return { reader: new LogReader(folder, berth, newest), lines };
  }

  /** The lines since the last call. `isGap` if there were others before, which were rotated away. */
  read(): { readonly lines: LogLine[]; readonly isGap: boolean } {
    const lines = parsed(this.#part.next());
    if (lines.length > 0) return { lines, isGap: false };
    const parts = openParts(this.#folder, this.#berth);
    const place = parts.findIndex(({ inode }) => inode === this.#part.inode);
    // Removed, with nothing in its place: what is open is still the log.
    const next = place === 0 || parts.length === 0 ? undefined : parts[place > 0 ? place - 1 : parts.length - 1];
    for (const part of parts) if (part !== next) part[Symbol.dispose]();
    if (next === undefined) return { lines, isGap: false };
    // Something may have come between the last look and the rotation.
    const last = parsed(this.#part.all());
    this.#part[Symbol.dispose]();
    this.#part = next;
    const first = parsed(next.next());
    return { lines: [...last, ...first], isGap: place < 0 };
  }

  [Symbol.dispose](): void {
    this.#part[Symbol.dispose]();
  }
}

/** Resolves when something in the folder may have changed since the last call, or once `signal` is aborted. */
export class FolderWatch implements Disposable {
  readonly #watcher: ReturnType<typeof watch>;
  #hasChanged = false;
  #tell: () => void = () => undefined;

  constructor(folder: string, signal: AbortSignal) {
    const change = (): void => {
      this.#hasChanged = true;
      this.#tell();
    };
    this.#watcher = watch(folder, change);
    signal.addEventListener("abort", change, { once: true });
  }

  async changed(): Promise<void> {
    if (!this.#hasChanged)
      await new Promise<void>((resolve) => {
        this.#tell = resolve;
      });
    this.#hasChanged = false;
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
  }
}

function parsed(lines: readonly string[]): LogLine[] {
  return lines.flatMap((line) => parseLogLine(line) ?? []);
}

function select(lines: readonly LogLine[], { lines: most, since }: Selection): LogLine[] {
  const recent = since === undefined ? lines : lines.filter(({ time }) => new Date(time) >= since);
  return most === 0 ? [] : recent.slice(-most);
}
