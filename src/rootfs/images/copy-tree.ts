/**
 * Copies a tree that another user can change meanwhile, by descriptors (open-tree.ts). It keeps owners, modes, times,
 * attributes, hard links and holes, and shares blocks where the file system can. It leaves out what the file system or
 * the user cannot keep: the import compares the copy with the tree, and says so. Nobody else can reach the copy.
 */
import {
  type BigIntStats,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { constants as os } from "node:os";
import { BerthError, check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { SEEK_DATA, SEEK_HOLE } from "../../file-constants.ts";
import { AT_FDCWD, type Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { attributesOf } from "../disk/attributes.ts";
import { system } from "../disk/durable.ts";
import { filesOf, kindOf, type OpenFile, type OpenTree } from "../disk/open-tree.ts";
import type { Pause } from "../disk/pause.ts";
import { pathOf } from "../disk/proc-path.ts";
import { FirstNames, openToRead, targetOf } from "../disk/tree-walk.ts";

const { S_IFREG, S_IFDIR, S_IFLNK, O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
const { ENXIO, EPERM, EACCES, EINVAL, ENOTSUP } = os.errno;
/** Attributes that the file system or this user cannot set. */
const NOT_KEPT: ReadonlySet<number> = new Set([ENOTSUP, EPERM, EACCES]);
const CHUNK_BYTES = 1 << 20;
const BILLION = 1_000_000_000n;

type Attributes = ReturnType<typeof attributesOf>;

/** Copies into the folder `to`, which must not exist. Throws SYSTEM_ERROR, or IMPORT_FAILED if it is in the tree. */
export async function copyTree(
  tree: OpenTree,
  to: string,
  sys: Native,
  pause: Pause,
  onFile: () => void,
): Promise<void> {
  const copy = new Copy(to, sys, pause);
  for await (const file of filesOf(tree, sys, pause)) {
    await copy.add(file);
    onFile();
  }
  copy.finish();
}

class Copy {
  readonly #to: Buffer;
  readonly #sys: Native;
  readonly #pause: Pause;
  readonly #names = new FirstNames();
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  /** A folder gets its owner, mode and times when it is full. */
  readonly #folders: (readonly [Buffer, BigIntStats, Attributes])[] = [];

  constructor(to: string, sys: Native, pause: Pause) {
    this.#to = Buffer.from(to);
    this.#sys = sys;
    this.#pause = pause;
  }

  async add(file: OpenFile): Promise<void> {
    const { path, where, handle, stat } = file;
    const place = this.#place(path);
    const first = this.#names.of(file);
    if (first !== undefined) return system(where, () => linkSync(this.#place(first), place));
    const kind = kindOf(stat);
    const attributes = attributesOf(handle, where, this.#sys);
    if (kind === S_IFDIR) {
      this.#mustBeOutside(stat, where);
      system(String(place), () => mkdirSync(place, 0o700));
      this.#folders.push([place, stat, attributes]);
      return;
    }
    if (kind === S_IFREG) await this.#content(file, place);
    else if (kind === S_IFLNK) system(where, () => symlinkSync(targetOf(handle, where, this.#sys), place));
    else {
      const made = this.#sys.mknodat(AT_FDCWD, place, kind | 0o600, Number(stat.rdev));
      check("mknodat", made, where);
    }
    this.#dress(place, stat, attributes);
  }

  finish(): void {
    for (const folder of this.#folders.reverse()) this.#dress(...folder);
  }

  #place(path: Buffer): Buffer {
    return path.length === 0 ? this.#to : Buffer.concat([this.#to, SLASH, path]);
  }

  /** Otherwise the copy would be copied, without end. */
  #mustBeOutside({ dev, ino }: BigIntStats, where: string): void {
    if (this.#folders.length === 0) return;
    const made = system(where, () => statSync(this.#to, { bigint: true }));
    if (made.dev !== dev || made.ino !== ino) return;
    throw new BerthError(
      "IMPORT_FAILED",
      `the folder has the images of berthd in it (${where}), which cannot be copied into itself; import a folder without them`,
    );
  }

  async #content({ handle, where, stat }: OpenFile, place: Buffer): Promise<void> {
    const from = openToRead(handle, where);
    try {
      const to = system(String(place), () => openSync(place, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
      try {
        if (this.#sys.ficlone(to, from) < 0) await this.#data(from, to, where);
        system(String(place), () => ftruncateSync(to, Number(stat.size)));
      } finally {
        closeSync(to);
      }
    } finally {
      closeSync(from);
    }
  }

  /** Copies what is not a hole. */
  async #data(from: number, to: number, where: string): Promise<void> {
    for (let at = 0; ; ) {
      const data = this.#sys.lseek(from, at, SEEK_DATA);
      if (data === -ENXIO) return;
      const start = data === -EINVAL ? at : check("lseek", data, where);
      const end =
        data === -EINVAL ? Number.MAX_SAFE_INTEGER : check("lseek", this.#sys.lseek(from, start, SEEK_HOLE), where);
      for (at = start; at < end; ) {
        const length = system(where, () => readSync(from, this.#chunk, 0, Math.min(CHUNK_BYTES, end - at), at));
        if (length === 0) return;
        system(where, () => writeAll(to, this.#chunk.subarray(0, length), at));
        at += length;
        await this.#pause();
      }
    }
  }

  /** chown(2) is first: it clears set-user-id bits and capabilities. */
  #dress(place: Buffer, stat: BigIntStats, attributes: Attributes): void {
    const where = String(place);
    const opened = this.#sys.openat2(AT_FDCWD, place, O_PATH | O_NOFOLLOW, 0, 0);
    using handle = FdHandle.adopt(check("openat2", opened, where), this.#sys);
    const path = pathOf(handle);
    system(where, () => chownIfAllowed(path, stat));
    for (const [name, value] of attributes) {
      const set = this.#sys.setxattr(Buffer.from(path), Buffer.from(name, "latin1"), value);
      if (set < 0 && !NOT_KEPT.has(-set)) check("setxattr", set, where);
    }
    if (kindOf(stat) !== S_IFLNK) system(where, () => chmodSync(path, Number(stat.mode) & 0o7777));
    const times = [...split(stat.atimeNs), ...split(stat.mtimeNs)] as const;
    check("utimensat", this.#sys.utimens(Buffer.from(path), ...times), where);
  }
}

function chownIfAllowed(path: string, { uid, gid }: BigIntStats): void {
  try {
    chownSync(path, Number(uid), Number(gid));
  } catch (error) {
    if (process.geteuid?.() === 0 || !isErrno(error, "EPERM")) throw error;
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function writeAll(fd: number, data: Uint8Array, at: number): void {
  for (let done = 0; done < data.length; ) done += writeSync(fd, data, done, data.length - done, at + done);
}

/** Seconds and nanoseconds; these are never negative. */
function split(nanoseconds: bigint): [number, number] {
  const rest = ((nanoseconds % BILLION) + BILLION) % BILLION;
  return [Number((nanoseconds - rest) / BILLION), Number(rest)];
}

const SLASH = Buffer.from("/");
