/**
 * Reads and writes whole files beneath a directory. Opening is by openat2(2); reading, writing and closing happen on
 * pool threads.
 */
import { randomBytes } from "node:crypto";
import { constants as files, fstatSync, fsync, read, writeFile } from "node:fs";
import { constants } from "node:os";
import { promisify } from "node:util";
import { abortError, BerthError, check, SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { WaitOptions } from "../../wait-options.ts";
import { openBeneath, openEntry } from "./beneath.ts";
import { empty, holdIfLarge, letGo } from "./large-file.ts";
import type { FileData } from "./options.ts";
import { type BeneathPath, shown } from "./path.ts";

const readFd = promisify(read);
const writeFd = promisify(writeFile);
const syncFd = promisify(fsync);

const { EFBIG } = constants.errno;

/** Bytes read between two checks of the signal. */
const READ_AT_ONCE = 1 << 20;

const { O_ACCMODE, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } = { O_ACCMODE: 3, ...files };

/** Opens a file. O_TRUNC is done afterwards on a pool thread: openat2(2) would do it on the event loop. */
export async function openFile(
  sys: Native,
  root: FdHandle,
  path: BeneathPath,
  flags: number,
  mode: number,
): Promise<FdHandle> {
  const truncates = (flags & O_TRUNC) !== 0 && (flags & O_ACCMODE) !== O_RDONLY;
  const file = openBeneath(sys, root, path, truncates ? flags & ~O_TRUNC : flags, mode);
  if (!truncates) return file;
  try {
    await explained(empty(file), path);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Reads the whole file. */
export async function readWhole(
  sys: Native,
  root: FdHandle,
  path: BeneathPath,
  { signal }: WaitOptions,
): Promise<Buffer> {
  if (signal?.aborted) throw abortError(signal);
  const file = openBeneath(sys, root, path, O_RDONLY);
  try {
    return await explained(readToEnd(file, path, signal), path, signal);
  } finally {
    await letGo(file);
  }
}

// Not fs.readFile: with a descriptor it treats an error or an abort as the end of the file.
async function readToEnd(file: FdHandle, path: BeneathPath, signal: AbortSignal | undefined): Promise<Buffer> {
  // One byte more than the size, so that the end is found without growing.
  let data = room(Math.max(fstatSync(file.fd).size + 1, 8192), path);
  let length = 0;
  for (;;) {
    if (length === data.length) {
      const larger = room(length * 2, path);
      data.copy(larger);
      data = larger;
    }
    const { bytesRead } = await readFd(file.fd, data, length, Math.min(data.length - length, READ_AT_ONCE), null);
    if (signal?.aborted) throw abortError(signal);
    if (bytesRead === 0) return data.subarray(0, length);
    length += bytesRead;
  }
}

/** A file can claim to be larger than the memory. */
function room(bytes: number, path: BeneathPath): Buffer {
  try {
    return Buffer.allocUnsafe(bytes);
  } catch {
    throw new SysError("read", EFBIG, shown(path));
  }
}

/** What to write, and how. */
export interface Writing extends WaitOptions {
  readonly data: FileData;
  readonly encoding: BufferEncoding | undefined;
  /** Permissions of a new file, before the umask. */
  readonly mode: number;
}

/** Writes from the file's position on. */
export async function writeWhole(
  sys: Native,
  root: FdHandle,
  path: BeneathPath,
  flags: number,
  writing: Writing,
): Promise<void> {
  if (writing.signal?.aborted) throw abortError(writing.signal);
  const file = await openFile(sys, root, path, flags, writing.mode);
  try {
    await write(file, path, writing);
  } finally {
    await letGo(file);
  }
}

/**
 * Replaces the last name of a path with a new file, links included. Readers see the old file or the new one, and so
 * does the disk after a crash. If writing fails, the new file is removed.
 */
export async function replaceWhole(sys: Native, root: FdHandle, path: BeneathPath, writing: Writing): Promise<void> {
  if (writing.signal?.aborted) throw abortError(writing.signal);
  using entry = openEntry(sys, root, path);
  const { directory } = entry;
  const name = Buffer.from(`.${randomBytes(12).toString("hex")}.new`);
  const file = openBeneath(sys, directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, writing.mode);
  let replaced: FdHandle | undefined;
  try {
    await write(file, path, writing);
    await explained(syncFd(file.fd), path);
    if (writing.signal?.aborted) throw abortError(writing.signal);
    replaced = holdIfLarge(sys, directory, entry.name);
    check("renameat2", sys.renameat2(directory.fd, name, directory.fd, entry.name, 0), shown(path));
  } catch (error) {
    sys.unlinkat(directory.fd, name, 0);
    throw error;
  } finally {
    await Promise.all([letGo(file), letGo(replaced)]);
  }
}

function write(file: FdHandle, path: BeneathPath, { data, encoding, signal }: Writing): Promise<void> {
  return explained(writeFd(file.fd, data, { encoding: encoding ?? "utf8", signal }), path, signal);
}

/** Turns errors of node:fs into those of the other calls, and an abort into the signal's reason. */
export async function explained<T>(work: Promise<T>, path: BeneathPath, signal?: AbortSignal | undefined): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (signal?.aborted) throw abortError(signal);
    if (error instanceof Error && !(error instanceof BerthError) && "errno" in error && "syscall" in error) {
      const { errno, syscall } = error;
      if (typeof errno === "number" && typeof syscall === "string") throw new SysError(syscall, -errno, shown(path));
    }
    throw error;
  }
}
