/**
 * Reads a tree entry by entry, in the byte order of the names: everything that an import must preserve. What it says of
 * an entry comes from one descriptor (open-tree.ts). Only access times change.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { check } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { attributesOf } from "./attributes.ts";
import { system } from "./durable.ts";
import { filesOf, kindOf, type OpenFile, type OpenTree } from "./open-tree.ts";
import type { Pause } from "./pause.ts";
import { pathOf } from "./proc-path.ts";

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

const { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, O_RDONLY, O_NONBLOCK } = constants;
const CHUNK_BYTES = 1 << 20;
/** PATH_MAX. */
const MAX_TARGET_BYTES = 4096;

/** Walks a tree. Nobody may remove files from it during the walk. Throws SYSTEM_ERROR with the path. */
export async function* walkTree(tree: OpenTree, sys: Native, pause: Pause): AsyncGenerator<TreeEntry> {
  const names = new FirstNames();
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for await (const file of filesOf(tree, sys, pause)) {
    const { path, where, handle, stat } = file;
    const first = names.of(file);
    const attributes = attributesOf(handle, where, sys).map(([name, value]) => [name, value.toString("hex")] as const);
    yield {
      path: path.toString("latin1"),
      mode: stat.mode.toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      modified: String(stat.mtimeNs),
      ...(first !== undefined && { link: first.toString("latin1") }),
      ...(first === undefined && (await contentOf(file, chunk, sys, pause))),
      ...(attributes.length > 0 && { attributes: Object.fromEntries(attributes) }),
    };
  }
}

/** The first name of each file that has several names. */
export class FirstNames {
  readonly #names = new Map<string, Buffer>();

  /** Undefined for a file whose first name this is. */
  of({ path, stat }: OpenFile): Buffer | undefined {
    if (kindOf(stat) === S_IFDIR || stat.nlink === 1n) return undefined;
    const file = `${stat.dev}:${stat.ino}`;
    const first = this.#names.get(file);
    if (first === undefined) this.#names.set(file, path);
    return first;
  }
}

/** Opens the regular file itself. Nothing can have taken its place, so open(2) does not wait for a FIFO. */
export function openToRead(handle: FdHandle, where: string): number {
  return system(where, () => openSync(pathOf(handle), O_RDONLY | O_NONBLOCK));
}

/** The bytes in a link. */
export function targetOf(handle: FdHandle, where: string, sys: Native): Buffer {
  const target = Buffer.alloc(MAX_TARGET_BYTES);
  const length = check("readlinkat", sys.readlinkat(handle.fd, Buffer.alloc(0), target), where);
  return target.subarray(0, length);
}

async function contentOf(
  { handle, where, stat }: OpenFile,
  chunk: Buffer,
  sys: Native,
  pause: Pause,
): Promise<Pick<TreeEntry, "content" | "size">> {
  const kind = kindOf(stat);
  if (kind === S_IFREG) return await hash(handle, where, chunk, pause);
  if (kind === S_IFLNK) return { content: targetOf(handle, where, sys).toString("latin1") };
  return kind === S_IFCHR || kind === S_IFBLK ? { content: String(stat.rdev) } : {};
}

async function hash(
  handle: FdHandle,
  where: string,
  chunk: Buffer,
  pause: Pause,
): Promise<{ content: string; size: number }> {
  const fd = openToRead(handle, where);
  try {
    const sum = createHash("sha256");
    let size = 0;
    for (;;) {
      const length = system(where, () => readSync(fd, chunk));
      if (length === 0) return { content: sum.digest("hex"), size };
      sum.update(chunk.subarray(0, length));
      size += length;
      await pause();
    }
  } finally {
    closeSync(fd);
  }
}
