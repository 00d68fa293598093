/**
 * Reads a tree entry by entry, in the byte order of the names: everything that an import must preserve. It follows no
 * symbolic link and enters no other file system (hazard 28: an image has no mounts inside). Only access times change.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { constants as os } from "node:os";
import { check } from "../../errors.ts";
import type { Native } from "../../native.ts";
import { system } from "./durable.ts";

/** One entry of a tree. Names and link targets may be any bytes, so they are decoded as latin1. */
export interface TreeEntry {
  /** Path relative to the tree. Empty for the tree itself. */
  readonly path: string;
  /** st_mode in octal: kind and permissions. */
  readonly mode: string;
  readonly owner: string;
  /** st_mtim in nanoseconds. */
  readonly modified: string;
  /** SHA-256 of a regular file, target of a symbolic link, or number of a device. Absent for other kinds. */
  readonly content?: string;
  /** Bytes in a regular file. */
  readonly size?: number;
  /** For a hard link: the first name of the same file. Then `content` and `size` are absent. */
  readonly link?: string;
  /** Extended attributes, with capabilities and ACLs: names, and values in hexadecimal. */
  readonly attributes?: Readonly<Record<string, string>>;
}

const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
const { ENOTSUP } = os.errno;
const CHUNK_BYTES = 1 << 20;

/**
 * Called between entries and between the parts of large files. It may wait, so that signal handlers run. It may throw
 * to stop the walk.
 */
export type Pause = () => Promise<void>;

/** Walks a tree. Nobody may remove files from it during the walk. Throws SYSTEM_ERROR with the path. */
export async function* walkTree(root: string, sys: Native, pause: Pause): AsyncGenerator<TreeEntry> {
  const walk = new Walk(Buffer.from(root), sys, pause);
  yield* walk.visit(Buffer.alloc(0));
}

class Walk {
  readonly #root: Buffer;
  readonly #sys: Native;
  readonly #pause: Pause;
  readonly #device: bigint;
  readonly #chunk: Buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  /** The first name of each file that has several names, by inode number. */
  readonly #first = new Map<bigint, string>();

  constructor(root: Buffer, sys: Native, pause: Pause) {
    this.#root = root;
    this.#sys = sys;
    this.#pause = pause;
    this.#device = system(String(root), () => lstatSync(root, { bigint: true })).dev;
  }

  async *visit(path: Buffer): AsyncGenerator<TreeEntry> {
    await this.#pause();
    const file = path.length === 0 ? this.#root : Buffer.concat([this.#root, SLASH, path]);
    const where = String(file);
    const stat = system(where, () => lstatSync(file, { bigint: true }));
    const name = path.toString("latin1");
    const kind = Number(stat.mode) & S_IFMT;
    const first = kind === S_IFDIR || stat.nlink === 1n ? undefined : this.#first.get(stat.ino);
    if (kind !== S_IFDIR && stat.nlink > 1n && first === undefined) this.#first.set(stat.ino, name);
    const attributes = this.#attributes(file, where);
    yield {
      path: name,
      mode: stat.mode.toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      modified: String(stat.mtimeNs),
      ...(first !== undefined && { link: first }),
      ...(first === undefined && (await this.#content(file, where, kind, stat.rdev))),
      ...(Object.keys(attributes).length > 0 && { attributes }),
    };
    if (kind !== S_IFDIR || stat.dev !== this.#device) return;
    const names = system(where, () => readdirSync(file, { encoding: "buffer" })).sort(Buffer.compare);
    for (const child of names) yield* this.visit(path.length === 0 ? child : Buffer.concat([path, SLASH, child]));
  }

  async #content(
    file: Buffer,
    where: string,
    kind: number,
    device: bigint,
  ): Promise<Pick<TreeEntry, "content" | "size">> {
    if (kind === S_IFREG) return await this.#hash(file, where);
    if (kind === S_IFLNK) return { content: system(where, () => readlinkSync(file, "latin1")) };
    return kind === S_IFCHR || kind === S_IFBLK ? { content: String(device) } : {};
  }

  async #hash(file: Buffer, where: string): Promise<{ content: string; size: number }> {
    // O_NONBLOCK: if somebody has replaced the file with a FIFO, open(2) must not wait for a writer.
    const fd = system(where, () => openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    try {
      const hash = createHash("sha256");
      let size = 0;
      for (;;) {
        const length = system(where, () => readSync(fd, this.#chunk));
        if (length === 0) return { content: hash.digest("hex"), size };
        hash.update(this.#chunk.subarray(0, length));
        size += length;
        await this.#pause();
      }
    } finally {
      closeSync(fd);
    }
  }

  #attributes(file: Buffer, where: string): Record<string, string> {
    const length = this.#sys.llistxattr(file, this.#chunk);
    if (length === 0 || length === -ENOTSUP) return {};
    check("llistxattr", length, where);
    const names = this.#chunk.toString("latin1", 0, length).split("\0").slice(0, -1).sort();
    return Object.fromEntries(
      names.map((name) => {
        const size = check("lgetxattr", this.#sys.lgetxattr(file, Buffer.from(name, "latin1"), this.#chunk), where);
        return [name, this.#chunk.toString("hex", 0, size)];
      }),
    );
  }
}

const SLASH = Buffer.from("/");
