/**
 * The staging area, where versions of images are built and deleted: one folder `images/.work/ID` for each import or
 * removal. Its process holds a lock on the folder. The kernel frees the lock when the last process with its descriptor
 * ends. So a folder without a lock is a leftover of a killed process, or of an import that failed while it fetched. The
 * next import may read leftovers. It deletes them, as a removal does.
 */
import { mkdtempSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { closeAll, type FdHandle } from "../../fd.ts";
import { makeFolders } from "../../make-folders.ts";
import type { Native } from "../../native.ts";
import { asSysError, system } from "../disk/durable.ts";
import { lockBriefly, tryLock } from "../disk/lock.ts";

/** One staging folder. {@link clear} removes it. Disposing only frees the lock: then the folder is a leftover. */
export class Staging implements Disposable {
  readonly folder: string;
  /** Leftovers of other processes. They are locked, so that no other process removes them at the same time. */
  readonly #leftovers: readonly (readonly [string, FdHandle])[];
  readonly #lock: FdHandle;
  #kept: string | undefined;

  private constructor(folder: string, lock: FdHandle, leftovers: readonly (readonly [string, FdHandle])[]) {
    this.folder = folder;
    this.#lock = lock;
    this.#leftovers = leftovers;
  }

  /** Makes a new staging folder in `images`. */
  static open(images: string, sys: Native): Staging {
    const place = join(images, ".work");
    system(place, () => makeFolders(place, 0o700));
    // A new folder has no lock yet. This lock keeps others from deleting it as a leftover.
    using _creation = lockBriefly(place, sys);
    const leftovers: (readonly [string, FdHandle])[] = [];
    try {
      for (const name of system(place, () => readdirSync(place))) {
        const lock = tryLock(join(place, name), "exclusive", sys);
        if (lock !== undefined) leftovers.push([join(place, name), lock]);
      }
      const folder = system(place, () => mkdtempSync(join(place, "work-")));
      const lock = tryLock(folder, "exclusive", sys);
      if (lock === undefined) throw new Error(`another process has locked ${folder}, which is new`);
      return new Staging(folder, lock, leftovers);
    } catch (error) {
      closeAll(leftovers.map(([, lock]) => lock));
      throw error;
    }
  }

  /** The lock, borrowed. A program that inherits it keeps the folder from becoming a leftover. */
  get lock(): number {
    return this.#lock.fd;
  }

  /** The folders of imports that did not end. Nobody else removes or changes them. */
  get leftovers(): readonly string[] {
    return this.#leftovers.map(([path]) => path);
  }

  /** Leaves one of {@link leftovers}, or the folder itself, for the next import: {@link clear} will not remove it. */
  keep(folder: string): void {
    this.#kept = folder;
  }

  /** Removes the leftovers of other processes. */
  async tidy(): Promise<void> {
    for (const [path, lock] of this.#leftovers) {
      if (lock.open && path !== this.#kept) await remove(path);
      lock.close();
    }
  }

  /** Removes the folder with its contents, and the leftovers of other processes. */
  async clear(): Promise<void> {
    if (this.folder !== this.#kept) await remove(this.folder);
    await this.tidy();
  }

  [Symbol.dispose](): void {
    this.#lock.close();
    for (const [, lock] of this.#leftovers) lock.close();
  }
}

async function remove(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    throw asSysError(error, path);
  }
}
