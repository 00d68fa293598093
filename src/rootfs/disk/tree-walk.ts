/**
 * A tree, entry by entry, in the order of its names' bytes: everything that an import has to preserve. It follows no
 * link and enters no other file system (hazard 28: an image has none inside). It changes nothing but access times.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { constants as os } from "node:os";
import { check } from "../../errors.ts";
import type { Native } from "../../native.ts";
import { system } from "./durable.ts";

/** What is recorded of a file. Bytes that need not be text (names, links) stand as latin1. */
export interface TreeEntry {
  /** Relative to the tree; empty: the tree itself. */
  readonly path: string;
  /** st_mode in octal: kind and permissions. */
  readonly mode: string;
  readonly owner: string;
  /** st_mtim in nanoseconds; of a link to a file recorded before, as of every other entry, its own. */
  readonly modified: string;
  /** SHA-256 of a regular file, target of a symbolic link, number of a device; else absent. */
  readonly content?: string;
  /** Bytes in a regular file. */
  readonly size?: number;
  /** The name under which the same file came before: a hard link. Then its content is not repeated. */
  readonly link?: string;
  /** Extended attributes, capabilities and access lists among them: names, and values in hexadecimal. */
  readonly attributes?: Readonly<Record<string, string>>;
}

const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
const { ENOTSUP } = os.errno;
const CHUNK = 1 << 20;

/** Called between entries and between the parts of large files: may wait, so that signals are heard, or throw. */
export type Pause = () => Promise<void>;

/** Walks a tree of which nothing is removed meanwhile. Throws SYSTEM_ERROR with the path. */
export async function* walkTree(root: string, sys: Native, pause: Pause): AsyncGenerator<TreeEntry> {
  const walk = new Walk(Buffer.from(root), sys, pause);
  yield* walk.visit(Buffer.alloc(0));
}

class Walk {
  readonly #root: Buffer;
  readonly #sys: Native;
  readonly #pause: Pause;
  readonly #device: bigint;
  readonly #chunk: Buffer = Buffer.allocUnsafe(CHUNK);
  /** Of files with several names: where each was first. */
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
    // O_NONBLOCK: if it is a fifo by now, opening it must not wait for a writer.
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
