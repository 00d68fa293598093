/**
 * A directory and the files beneath it, with the methods of node:fs. No method reads or changes a file outside.
 * The directory is the root of every path: `/x`, `x` and `../../x` are the same file. The kernel resolves links as if
 * the directory were `/` (openat2(2), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS).
 */
import {
  createReadStream,
  createWriteStream,
  constants as files,
  fstatSync,
  type ReadStream,
  type Stats,
  type WriteStream,
} from "node:fs";
import { abortError, BerthError, check, SysError } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import { type Native, native } from "../native.ts";
import { O_PATH } from "../net/socket-constants.ts";
import type { WaitOptions } from "../wait-options.ts";
import { openBeneath, openDirectory, openEntry } from "./directory/beneath.ts";
import { openFile, readWhole, replaceWhole, writeWhole } from "./directory/content.ts";
import { copyWhole } from "./directory/copy.ts";
import { type RawEntry, readEntries } from "./directory/entries.ts";
import { holdIfLarge, letGo } from "./directory/large-file.ts";
import { makeDirectories, makeDirectory } from "./directory/make.ts";
import { type OpenFlags, openFlags } from "./directory/open-flags.ts";
import type {
  AppendFileOptions,
  CopyFileOptions,
  DirectoryEntry,
  FileData,
  ReaddirOptions,
  ReadFileOptions,
  ReadStreamOptions,
  RmOptions,
  WriteFileOptions,
  WriteStreamOptions,
} from "./directory/options.ts";
import { type BeneathPath, pathBytes, shown, textOf } from "./directory/path.ts";
import { AT_REMOVEDIR, removeTree } from "./directory/remove.ts";

const RENAME_NOREPLACE = 1; // renameat2(2)
const TARGET_MAX = 4096; // the longest target of a symbolic link, PATH_MAX

/**
 * A directory handle opens files inside the directory and never outside it. It is disposable. After `close` every
 * other method throws DESCRIPTOR_CLOSED. Open files and running calls continue.
 *
 * All methods throw a SysError when the kernel refuses. Its `errnoName` is documented in open(2) and the related pages
 * (ENOENT, EEXIST, ENOTDIR …). A link of /proc gives ELOOP. An invalid path throws USAGE. An old kernel throws
 * SYSCALL_MISSING.
 */
export class DirectoryHandle implements Disposable, AsyncDisposable {
  /** The directory's descriptor: borrow it to pass it on. */
  readonly handle: FdHandle;
  readonly #sys: Native;

  private constructor(handle: FdHandle, sys: Native) {
    this.handle = handle;
    this.#sys = sys;
  }

  /** Opens a directory by an ordinary path. Links in that path are followed. */
  static open(path: BeneathPath): Promise<DirectoryHandle>;
  /** @internal */
  static open(path: BeneathPath, sys: Native): Promise<DirectoryHandle>;
  static async open(path: BeneathPath, sys: Native = native): Promise<DirectoryHandle> {
    return new DirectoryHandle(openDirectory(sys, path), sys);
  }

  /**
   * Takes ownership of a directory's descriptor, O_PATH or opened for reading. For any other descriptor it throws
   * DESCRIPTOR_MISMATCH, and the caller keeps the ownership.
   */
  static adopt(handle: FdHandle): DirectoryHandle;
  /** @internal */
  static adopt(handle: FdHandle, sys: Native): DirectoryHandle;
  static adopt(handle: FdHandle, sys: Native = native): DirectoryHandle {
    if (!fstatSync(handle.fd).isDirectory())
      throw new BerthError("DESCRIPTOR_MISMATCH", `descriptor ${handle.fd} is not a directory; use it as it is`);
    return new DirectoryHandle(handle, sys);
  }

  /** Closes the directory. Idempotent. */
  close(): void {
    this.handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /**
   * Opens a file. The caller owns the descriptor, and uses it with `fs.read`, `fs.fchown` and the like.
   * O_CLOEXEC, O_NONBLOCK and O_NOCTTY are always added, so a FIFO cannot make the call wait.
   */
  async open(path: BeneathPath, flags: OpenFlags = "r", mode = 0o666): Promise<FdHandle> {
    return await openFile(this.#sys, this.handle, path, openFlags(flags), mode);
  }

  /** Opens a directory beneath this one as its own root: `..` and links cannot leave that directory. */
  async directory(path: BeneathPath): Promise<DirectoryHandle> {
    return new DirectoryHandle(this.#open(path, O_PATH | files.O_DIRECTORY), this.#sys);
  }

  /** All of a file, read on threads of the pool. */
  readFile(path: BeneathPath, options?: WaitOptions & { readonly encoding?: undefined }): Promise<Buffer>;
  readFile(
    path: BeneathPath,
    options: BufferEncoding | (WaitOptions & { readonly encoding: BufferEncoding }),
  ): Promise<string>;
  readFile(path: BeneathPath, options?: BufferEncoding | ReadFileOptions): Promise<string | Buffer>;
  async readFile(path: BeneathPath, options: BufferEncoding | ReadFileOptions = {}): Promise<string | Buffer> {
    const { encoding, ...waiting } = typeof options === "string" ? { encoding: options } : options;
    const data = await readWhole(this.#sys, this.handle, path, waiting);
    return encoding === undefined ? data : data.toString(encoding);
  }

  /** Writes a file on threads of the pool. An abort can leave a part of the file, unless `atomic` is set. */
  async writeFile(path: BeneathPath, data: FileData, options: BufferEncoding | WriteFileOptions = {}): Promise<void> {
    const {
      encoding,
      signal,
      mode = 0o666,
      flag = "w",
      atomic = false,
    } = typeof options === "string" ? ({ encoding: options } satisfies WriteFileOptions) : options;
    const writing = { data, encoding, mode, signal };
    if (!atomic) return await writeWhole(this.#sys, this.handle, path, openFlags(flag), writing);
    if (flag !== "w") throw new BerthError("USAGE", `atomic writes a new file: the flag "${flag}" does not go with it`);
    return await replaceWhole(this.#sys, this.handle, path, writing);
  }

  /** Writes to the end of a file, on threads of the pool. The file is made if it does not exist. */
  async appendFile(path: BeneathPath, data: FileData, options: BufferEncoding | AppendFileOptions = {}): Promise<void> {
    const { encoding, signal, mode } = typeof options === "string" ? ({ encoding: options } as const) : options;
    await this.writeFile(path, data, { encoding, signal, mode, flag: "a" });
  }

  /**
   * Copies a file's bytes and permissions, on threads of the pool. Links are followed on both sides, and neither can
   * lead out. With `replace: false` it throws EEXIST when `to` exists. An abort can leave a part of the file.
   */
  async copyFile(from: BeneathPath, to: BeneathPath, options: CopyFileOptions = {}): Promise<void> {
    await copyWhole(this.#sys, this.handle, from, to, options);
  }

  /** A stream of a file's bytes, which closes it. */
  async createReadStream(path: BeneathPath, options: ReadStreamOptions = {}): Promise<ReadStream> {
    const file = await this.open(path);
    return createReadStream("", { ...options, fd: file.steal() });
  }

  /** A stream into a file, which closes it. */
  async createWriteStream(path: BeneathPath, options: WriteStreamOptions = {}): Promise<WriteStream> {
    const { flags = "w", mode, ...rest } = options;
    const file = await this.open(path, flags, mode);
    return createWriteStream("", { ...rest, fd: file.steal() });
  }

  /**
   * Lists a directory, in no order, without `.` and `..`. A name that is not UTF-8 throws USAGE.
   * `encoding: "buffer"` returns every name as bytes, which can be used as a path.
   */
  readdir(path?: BeneathPath, options?: WaitOptions & { encoding?: "utf8"; withFileTypes?: false }): Promise<string[]>;
  readdir(path: BeneathPath, options: WaitOptions & { encoding: "buffer"; withFileTypes?: false }): Promise<Buffer[]>;
  readdir(
    path: BeneathPath,
    options: WaitOptions & { encoding?: "utf8"; withFileTypes: true },
  ): Promise<DirectoryEntry[]>;
  readdir(
    path: BeneathPath,
    options: WaitOptions & { encoding: "buffer"; withFileTypes: true },
  ): Promise<DirectoryEntry<Buffer>[]>;
  async readdir(
    path: BeneathPath = ".",
    { encoding, withFileTypes = false, signal }: ReaddirOptions = {},
  ): Promise<(string | Buffer | DirectoryEntry<string | Buffer>)[]> {
    using directory = this.#open(path, files.O_RDONLY | files.O_DIRECTORY);
    const entries: RawEntry[] = [];
    for await (const batch of readEntries(this.#sys, directory, shown(path), signal)) entries.push(...batch);
    return entries.map(({ name, type }) => {
      const shape = encoding === "buffer" ? name : textOf(name, path);
      return withFileTypes ? { name: shape, type } : shape;
    });
  }

  /** The attributes of the file at a path. Links are followed. */
  async stat(path: BeneathPath): Promise<Stats> {
    using file = this.#open(path, O_PATH);
    return fstatSync(file.fd);
  }

  /** The attributes of the file at a path. A link is not followed. */
  async lstat(path: BeneathPath): Promise<Stats> {
    using file = this.#open(path, O_PATH | files.O_NOFOLLOW);
    return fstatSync(file.fd);
  }

  /**
   * Makes a directory. `recursive` makes its parents too, and accepts one that exists. Default `mode` is 0o777 &
   * ~umask.
   */
  async mkdir(
    path: BeneathPath,
    { recursive = false, mode = 0o777 }: { readonly recursive?: boolean; readonly mode?: number } = {},
  ): Promise<void> {
    if (recursive) makeDirectories(this.#sys, this.handle, path, mode);
    else makeDirectory(this.#sys, this.handle, path, mode);
  }

  /** Renames a file, directory or link. With `replace: false` it throws EEXIST when `to` exists. */
  async rename(
    from: BeneathPath,
    to: BeneathPath,
    { replace = true }: { readonly replace?: boolean } = {},
  ): Promise<void> {
    using source = openEntry(this.#sys, this.handle, from);
    using target = openEntry(this.#sys, this.handle, to);
    const replaced = replace ? holdIfLarge(this.#sys, target.directory, target.name) : undefined;
    try {
      const result = this.#sys.renameat2(
        source.directory.fd,
        source.name,
        target.directory.fd,
        target.name,
        replace ? 0 : RENAME_NOREPLACE,
      );
      check("renameat2", result, `${shown(from)} to ${shown(to)}`);
    } finally {
      await letGo(replaced);
    }
  }

  /** Makes a symbolic link at `path`. The target can be any text: this handle never follows it out of the directory. */
  async symlink(target: BeneathPath, path: BeneathPath): Promise<void> {
    using entry = openEntry(this.#sys, this.handle, path);
    check("symlinkat", this.#sys.symlinkat(pathBytes(target), entry.directory.fd, entry.name), shown(path));
  }

  /** Reads the target of a symbolic link. One that is not UTF-8 throws USAGE; `encoding: "buffer"` returns bytes. */
  readlink(path: BeneathPath, options?: { readonly encoding?: "utf8" }): Promise<string>;
  readlink(path: BeneathPath, options: { readonly encoding: "buffer" }): Promise<Buffer>;
  async readlink(
    path: BeneathPath,
    { encoding }: { readonly encoding?: "utf8" | "buffer" } = {},
  ): Promise<string | Buffer> {
    using link = this.#open(path, O_PATH | files.O_NOFOLLOW);
    const target = Buffer.alloc(TARGET_MAX);
    const length = check("readlinkat", this.#sys.readlinkat(link.fd, new Uint8Array(0), target), shown(path));
    const bytes = target.subarray(0, length);
    return encoding === "buffer" ? bytes : textOf(bytes, path);
  }

  /** Removes a file or a link. A directory throws EISDIR. */
  async unlink(path: BeneathPath): Promise<void> {
    using entry = openEntry(this.#sys, this.handle, path);
    const held = holdIfLarge(this.#sys, entry.directory, entry.name);
    try {
      check("unlinkat", this.#sys.unlinkat(entry.directory.fd, entry.name, 0), shown(path));
    } finally {
      await letGo(held);
    }
  }

  /** Removes an empty directory. */
  async rmdir(path: BeneathPath): Promise<void> {
    using entry = openEntry(this.#sys, this.handle, path);
    check("unlinkat", this.#sys.unlinkat(entry.directory.fd, entry.name, AT_REMOVEDIR), shown(path));
  }

  /**
   * Removes a file or a link. `recursive` removes a directory and everything in it, at any depth. Links are removed,
   * not followed. A call that fails or is aborted restores nothing.
   */
  async rm(path: BeneathPath, { recursive = false, force = false, signal }: RmOptions = {}): Promise<void> {
    if (signal?.aborted) throw abortError(signal);
    try {
      if (!recursive) return await this.unlink(path);
      using entry = openEntry(this.#sys, this.handle, path);
      if (!force) openBeneath(this.#sys, entry.directory, entry.name, O_PATH | files.O_NOFOLLOW).close();
      await removeTree(this.#sys, entry, signal);
    } catch (error) {
      if (force && error instanceof SysError && error.errnoName === "ENOENT") return;
      throw error;
    }
  }

  #open(path: BeneathPath, flags: number): FdHandle {
    return openBeneath(this.#sys, this.handle, path, flags);
  }
}
