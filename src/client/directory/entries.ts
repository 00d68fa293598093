/** What is in a directory: getdents64(2), a buffer at a time, so that a large one does not hold up the event loop. */
import { constants as files, fstatSync } from "node:fs";
import { constants, endianness } from "node:os";
import { setImmediate } from "node:timers/promises";
import { abortError, check, SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { openBeneath } from "./beneath.ts";

const { ENOENT } = constants.errno;

/** What an entry is. A link is a link, whatever it leads to. */
export type EntryType =
  | "file"
  | "directory"
  | "symlink"
  | "fifo"
  | "socket"
  | "character-device"
  | "block-device"
  | "unknown";

/** An entry as the kernel has it. */
export interface RawEntry {
  readonly name: Buffer;
  readonly type: EntryType;
}

/** S_IFMT of a mode, shifted by 12, which is what d_type is too (readdir(3), DTTOIF). */
const types: Readonly<Record<number, EntryType>> = {
  1: "fifo",
  2: "character-device",
  4: "directory",
  6: "block-device",
  8: "file",
  10: "symlink",
  12: "socket",
};

/** Room for some 300 names of usual length: a millisecond's work, if each of them is to be removed. */
const BUFFER = 8192;

/** Yields the entries of an open directory in batches, without `.` and `..`, and lets others run in between. */
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
    // A directory that was removed while it was open has nothing in it; the kernel says ENOENT then, as no path was
    // wrong.
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

/** Some file systems leave the type out; then the file is asked, and left out itself if it is gone meanwhile. */
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
