/** Reads directories with getdents64(2), one buffer at a time, so that a large one does not block the event loop. */
import { constants as files, fstatSync } from "node:fs";
import { constants, endianness } from "node:os";
import { setImmediate } from "node:timers/promises";
import { abortError, check, SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { openBeneath } from "./beneath.ts";

const { ENOENT } = constants.errno;

/** The type of an entry. A link is "symlink", whatever it leads to. */
export type EntryType =
  | "file"
  | "directory"
  | "symlink"
  | "fifo"
  | "socket"
  | "character-device"
  | "block-device"
  | "unknown";

/** An entry as the kernel returns it. */
export interface RawEntry {
  readonly name: Buffer;
  readonly type: EntryType;
}

/** S_IFMT of a mode, shifted by 12: the same number as d_type (readdir(3), DTTOIF). */
const types: Readonly<Record<number, EntryType>> = {
  1: "fifo",
  2: "character-device",
  4: "directory",
  6: "block-device",
  8: "file",
  10: "symlink",
  12: "socket",
};

/** Room for about 300 names of usual length. Removing them takes about a millisecond. */
const BUFFER = 8192;

/** Yields the entries of an open directory in batches, without `.` and `..`. Other work runs in between. */
export async function* readEntries(
  sys: Native,
  directory: FdHandle,
  path: string,
  signal?: AbortSignal | undefined,
): AsyncGenerator<readonly RawEntry[]> {
  const buffer = Buffer.alloc(BUFFER);
  for (;;) {
    if (signal?.aborted) throw abortError(signal);
    const length = sys.getdents64(directory.fd, buffer);
    // A directory that was removed while it is open is empty: the kernel returns ENOENT then.
    if (length === 0 || length === -ENOENT) return;
    check("getdents64", length, path);
    yield parse(buffer.subarray(0, length)).flatMap((entry) => known(sys, directory, entry));
    await setImmediate();
  }
}

const little = endianness() === "LE";

/** `struct linux_dirent64`: u64 inode, s64 offset, u16 length of the whole, u8 type, the name, NULs. */
function parse(records: Buffer): RawEntry[] {
  const entries: RawEntry[] = [];
  const lengthAt = (at: number): number => (little ? records.readUInt16LE(at + 16) : records.readUInt16BE(at + 16));
  for (let at = 0; at < records.length; at += lengthAt(at)) {
    const name = records.subarray(at + 19, records.indexOf(0, at + 19));
    const text = name.length <= 2 ? name.toString("latin1") : "";
    if (text === "." || text === "..") continue;
    entries.push({ name: Buffer.from(name), type: types[records.readUInt8(at + 18)] ?? "unknown" });
  }
  return entries;
}

/** Some file systems leave the type out. Then the file is asked; a file that is gone meanwhile is left out. */
function known(sys: Native, directory: FdHandle, entry: RawEntry): RawEntry[] {
  if (entry.type !== "unknown") return [entry];
  try {
    using file = openBeneath(sys, directory, entry.name, O_PATH | files.O_NOFOLLOW);
    return [{ name: entry.name, type: types[fstatSync(file.fd).mode >> 12] ?? "unknown" }];
  } catch (error) {
    if (error instanceof SysError && error.errno === ENOENT) return [];
    throw error;
  }
}
