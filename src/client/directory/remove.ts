/**
 * Removes a directory with everything inside, beneath an open parent. It removes links, not their targets. It leaves
 * mounts inside alone.
 */
import { randomBytes } from "node:crypto";
import { constants as files } from "node:fs";
import { constants } from "node:os";
import { SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import { RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV } from "../../file-constants.ts";
import type { Native } from "../../native.ts";
import { type Entry, openBeneath } from "./beneath.ts";
import { readEntries } from "./entries.ts";
import { holdIfLarge, letGo } from "./large-file.ts";
import { shown } from "./path.ts";

const { EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, EXDEV } = constants.errno;

/** unlinkat(2): act like rmdir(2). */
export const AT_REMOVEDIR = 0x200;

/** How many nested directories are open at once. Deeper ones are moved up first, so depth costs no descriptors. */
export const DEPTH = 32;

/** How often a directory is read again because something was created in it meanwhile. */
const ROUNDS = 16;

/**
 * Removes an entry of any kind. Throws SysError; ENOTEMPTY if a process keeps creating files there. What is removed
 * stays removed.
 */
export async function removeTree(sys: Native, entry: Entry, signal?: AbortSignal | undefined): Promise<void> {
  await new TreeRemoval(sys, signal).remove(entry.directory, entry.name, shown(entry.name), []);
}

class TreeRemoval {
  readonly #sys: Native;
  readonly #signal: AbortSignal | undefined;
  /** How many directories were moved up. Each must still be removed at the top. */
  #moved = 0;

  constructor(sys: Native, signal: AbortSignal | undefined) {
    this.#sys = sys;
    this.#signal = signal;
  }

  /**
   * Removes `name`, whatever its kind is by then. `above` are the directories opened on the way, topmost first. An
   * entry that is replaced between two calls is handled in the next round.
   */
  async remove(parent: FdHandle, name: Uint8Array, path: string, above: readonly FdHandle[]): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const held = holdIfLarge(this.#sys, parent, name);
      try {
        if (this.#unlink(parent, name, path, 0)) return;
      } finally {
        if (held !== undefined) await letGo(held);
      }
      if (this.#moveUp(parent, name, path, above)) return;
      const moved = this.#moved;
      await this.#empty(parent, name, path, above);
      if (this.#unlink(parent, name, path, AT_REMOVEDIR)) return;
      // Directories that were moved here are progress, not the work of another process.
      if (this.#moved > moved) round = 0;
    }
    throw new SysError("unlinkat", ENOTEMPTY, path);
  }

  /** Whether it was removed. False if it is of the other kind, or not empty. */
  #unlink(parent: FdHandle, name: Uint8Array, path: string, flags: number): boolean {
    const result = this.#sys.unlinkat(parent.fd, name, flags);
    if (result === 0 || result === -ENOENT) return true;
    if (result === -EISDIR || result === -ENOTDIR || result === -ENOTEMPTY) return false;
    throw new SysError("unlinkat", -result, path);
  }

  /** Moves a directory that is too deep into the topmost one, where it is removed later. Returns whether it did. */
  #moveUp(parent: FdHandle, name: Uint8Array, path: string, above: readonly FdHandle[]): boolean {
    const top = above[0];
    if (top === undefined || above.length < DEPTH) return false;
    const result = this.#sys.renameat2(parent.fd, name, top.fd, Buffer.from(randomBytes(16).toString("hex")), 0);
    // A directory of an overlay's lower layer cannot be moved. Then each level costs a descriptor.
    if (result === -EXDEV) return false;
    if (result < 0 && result !== -ENOENT) throw new SysError("renameat2", -result, path);
    this.#moved++;
    return true;
  }

  async #empty(parent: FdHandle, name: Uint8Array, path: string, above: readonly FdHandle[]): Promise<void> {
    const directory = this.#open(parent, name, path);
    if (directory === undefined) return;
    using _ = directory;
    for await (const batch of readEntries(this.#sys, directory, path, this.#signal)) {
      for (const entry of batch) {
        await this.remove(directory, entry.name, `${path}/${shown(entry.name)}`, [...above, directory]);
      }
    }
  }

  /** Opens the directory; undefined if it is something else by now. */
  #open(parent: FdHandle, name: Uint8Array, path: string): FdHandle | undefined {
    const flags = files.O_RDONLY | files.O_DIRECTORY | files.O_NOFOLLOW;
    const resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    try {
      return openBeneath(this.#sys, parent, name, flags, 0, resolve);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.errno === ENOENT || error.errno === ENOTDIR || error.errno === ELOOP) return undefined;
      throw new SysError(error.syscall, error.errno, path);
    }
  }
}
