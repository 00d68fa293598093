/**
 * Where versions of images are made and taken apart: `images/.work/ID`, a folder that nobody looks into but its owner,
 * who has a lock on it. A lock ends with the last process that has its descriptor, so what has none was left by
 * somebody who was killed, and the next one to come removes it.
 */
import { mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { asSysError, system } from "../disk/durable.ts";
import { lockBriefly, tryLock } from "../disk/lock.ts";

/** One folder to work in. Closing it leaves what is in it to the next one; {@link clear} removes it. */
export class Staging implements Disposable {
  readonly folder: string;
  /** What others left, locked, so that nobody else removes it at the same time. */
  readonly #leftovers: readonly (readonly [string, FdHandle])[];
  readonly #lock: FdHandle;

  private constructor(folder: string, lock: FdHandle, leftovers: readonly (readonly [string, FdHandle])[]) {
    this.folder = folder;
    this.#lock = lock;
    this.#leftovers = leftovers;
  }

  /** A new folder below `images`. */
  static open(images: string, sys: Native): Staging {
    const place = join(images, ".work");
    system(place, () => mkdirSync(place, { recursive: true, mode: 0o700 }));
    // Between a folder's beginning and its lock nobody else may take it for a leftover.
    using _beginning = lockBriefly(place, sys);
    const leftovers: (readonly [string, FdHandle])[] = [];
    try {
      for (const name of system(place, () => readdirSync(place))) {
        const lock = tryLock(join(place, name), "exclusive", sys);
        if (lock !== undefined) leftovers.push([join(place, name), lock]);
      }
      const folder = system(place, () => mkdtempSync(join(place, "work-")));
      const lock = tryLock(folder, "exclusive", sys);
      if (lock === undefined) throw new Error(`${folder} is locked though it is new`);
      return new Staging(folder, lock, leftovers);
    } catch (error) {
      closeAll(leftovers.map(([, lock]) => lock));
      throw error;
    }
  }

  /** The lock, borrowed: whoever inherits it keeps the folder from being taken for a leftover. */
  get lock(): number {
    return this.#lock.fd;
  }

  /** Removes what others left behind. */
  async tidy(): Promise<void> {
    for (const [path, lock] of this.#leftovers) {
      if (lock.open) await remove(path);
      lock.close();
    }
  }

  /** Removes the folder with all that is in it, and what others left behind. */
  async clear(): Promise<void> {
    await remove(this.folder);
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
