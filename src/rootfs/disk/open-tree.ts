/**
 * Goes through a tree file by file, by descriptors. It looks each name up in a folder that is open, and follows no
 * link. So a user who can change the tree meanwhile cannot lead the walk out of it (hazard 65). It enters no other file
 * system (hazard 28: an image has no mounts inside), and opens no file for reading.
 */
import { type BigIntStats, constants, fstatSync, readdirSync } from "node:fs";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS } from "../../file-constants.ts";
import { AT_FDCWD, type Native } from "../../native.ts";
import { O_PATH } from "../../net/socket-constants.ts";
import { system } from "./durable.ts";
import type { Pause } from "./pause.ts";
import { pathOf } from "./proc-path.ts";

/** A folder that is open. The owner closes it. */
export interface OpenTree {
  readonly folder: FdHandle;
  /** For messages. */
  readonly path: string;
}

/** A file of any kind. */
export interface OpenFile {
  /** Relative to the tree. Empty for the tree itself. */
  readonly path: Buffer;
  /** For messages. */
  readonly where: string;
  /** Borrowed: the file itself, opened with O_PATH, until the walk goes on. */
  readonly handle: FdHandle;
  readonly stat: BigIntStats;
  /** Whether the walk enters it. */
  readonly isEntered: boolean;
}

const { O_DIRECTORY, O_NOFOLLOW, S_IFMT, S_IFDIR } = constants;
const BENEATH: number = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/** Opens a tree that nobody else can change. Throws SYSTEM_ERROR. */
export function openTree(path: string, sys: Native): OpenTree & Disposable {
  const folder = check("openat2", sys.openat2(AT_FDCWD, Buffer.from(path), O_PATH | O_DIRECTORY, 0, 0), path);
  const handle = FdHandle.adopt(folder, sys);
  return { folder: handle, path, [Symbol.dispose]: () => handle.close() };
}

/** The kind of a file, as one of the S_IF… bits. */
export function kindOf({ mode }: BigIntStats): number {
  return Number(mode) & S_IFMT;
}

/** Every file of the tree: a folder before its contents, and those in the byte order of their names. */
export async function* filesOf({ folder, path }: OpenTree, sys: Native, pause: Pause): AsyncGenerator<OpenFile> {
  const { dev } = system(path, () => fstatSync(folder.fd, { bigint: true }));
  async function* visit(handle: FdHandle, name: Buffer): AsyncGenerator<OpenFile> {
    await pause();
    const where = name.length === 0 ? path : `${path}/${name}`;
    const stat = system(where, () => fstatSync(handle.fd, { bigint: true }));
    const isEntered = kindOf(stat) === S_IFDIR && stat.dev === dev;
    yield { path: name, where, handle, stat, isEntered };
    if (!isEntered) return;
    const names = system(where, () => readdirSync(pathOf(handle), { encoding: "buffer" })).sort(Buffer.compare);
    for (const child of names) {
      const found = sys.openat2(handle.fd, child, O_PATH | O_NOFOLLOW, 0, BENEATH);
      using opened = FdHandle.adopt(check("openat2", found, `${where}/${child}`), sys);
      yield* visit(opened, name.length === 0 ? child : Buffer.concat([name, SLASH, child]));
    }
  }
  yield* visit(folder, Buffer.alloc(0));
}

const SLASH = Buffer.from("/");
