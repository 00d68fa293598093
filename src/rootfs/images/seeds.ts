/**
 * The trees on this machine that casync can take chunks from, instead of fetching them. casync reads each of them
 * first, so only trees that probably have the same chunks are worth it. It reads no tree itself.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import { type CasyncSource, isRemote } from "./casync.ts";
import type { Images, ImageVersion } from "./images.ts";

/** How many other images are read for an image that has no version yet. */
const MAX_OTHERS = 3;

/** Trees, and locks that keep `berth image rm` from them. The caller closes the locks. */
export interface Seeds {
  readonly trees: readonly string[];
  readonly locks: readonly FdHandle[];
}

/** Whether the index or a store is on the network. */
export function isFetched({ index, stores }: Pick<CasyncSource, "index" | "stores">): boolean {
  return [index, ...stores].some(isRemote);
}

/**
 * The current version of the image. For an image without one, when chunks are fetched: the current versions of other
 * images whose index came from the same folder. `leftovers` are trees of imports that did not end.
 */
export function seedsFor(images: Images, name: string, source: CasyncSource, leftovers: readonly string[]): Seeds {
  const current = images.resolve(name);
  const versions = "tree" in current ? [current] : isFetched(source) ? neighbours(images, source.index) : [];
  const trees: string[] = [];
  const locks: FdHandle[] = [];
  for (const version of versions) {
    const lock = heldOf(images, version);
    if (lock === undefined) continue;
    trees.push(version.tree);
    locks.push(lock);
  }
  return { trees: [...trees, ...leftovers.filter(isFolder)], locks };
}

/** Undefined for a version that was removed meanwhile: the import can do without it. */
function heldOf(images: Images, version: ImageVersion): FdHandle | undefined {
  try {
    return images.hold(version);
  } catch (error) {
    if (error instanceof BerthError && error.code === "IMAGE_ABSENT") return undefined;
    throw error;
  }
}

/** Versions of other images that came from indexes in the same folder, the latest first. */
function neighbours(images: Images, index: string): ImageVersion[] {
  return images
    .list()
    .filter(({ current, source }) => current && source.kind === "casync")
    .filter(({ source }) => folderOf(source.location) === folderOf(index))
    .sort((a, b) => (a.imported < b.imported ? 1 : -1))
    .slice(0, MAX_OTHERS)
    .map(({ name, version }) => ({ name, version, tree: join(images.folder, name, version, "tree") }));
}

function folderOf(location: string): string {
  return location.slice(0, location.lastIndexOf("/") + 1);
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
