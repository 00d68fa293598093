/**
 * The images of a state folder. `NAME/VERSION/` contains `tree` and `manifest.json`. `NAME/current` links to a version.
 * A version is always complete: one rename(2) moves it in from {@link Staging}, or out to it. It never changes a tree.
 */
import {
  constants,
  fstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { BerthError, SysError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { makeFolders } from "../../make-folders.ts";
import { type Native, native } from "../../native.ts";
import { moveDurably, syncFolder, system } from "../disk/durable.ts";
import { folderState } from "../disk/folder-state.ts";
import { lockHolders } from "../disk/holders.ts";
import { lockBriefly, tryLock } from "../disk/lock.ts";
import { CURRENT, IMAGE_RULE, parseReference } from "./image-name.ts";
import { decodeManifest, type Manifest } from "./manifest.ts";
import { Staging } from "./staging.ts";

/** A tree that can be the lower layer of a root. */
export interface ImageVersion {
  /** The image's name, or the path when the reference is a path. */
  readonly name: string;
  /** Absent when the reference is a path. */
  readonly version?: string;
  /** Absolute path of the tree. */
  readonly tree: string;
}

/** A version that was looked at. */
export interface FoundVersion extends ImageVersion {
  /** {@link folderState} of the tree. */
  readonly state: string;
}

/** Why a reference means no tree, and what to do. */
export interface ImageProblem {
  readonly problem: string;
  readonly remedy: string;
}

/** One version, as `berth image ls` shows it. */
export interface ImageRecord extends Manifest {
  readonly current: boolean;
  /** Processes that hold it, as `berthd (pid 77)`. */
  readonly holders: readonly string[];
}

export class Images {
  readonly folder: string;
  readonly #sys: Native;

  /** `folder` is the folder of images, `STATE/images`. It need not exist. */
  constructor(folder: string, sys: Native = native) {
    this.folder = folder;
    this.#sys = sys;
  }

  /** Finds the tree of a reference: `NAME` is the current version, `NAME@VERSION` that version, a path that folder. */
  resolve(reference: string): FoundVersion | ImageProblem {
    const parsed = parseReference(reference);
    if (parsed === undefined)
      return {
        problem: `"${reference}" is not the name of an image`,
        remedy: `write NAME, NAME@VERSION or an absolute path; ${IMAGE_RULE}`,
      };
    if (parsed.kind === "path") {
      const { path } = parsed;
      const state = folderState(path);
      if (state !== undefined) return { name: path, tree: path, state };
      return {
        problem: `there is no folder ${path}`,
        remedy: "correct the path, or name an image (`berth image ls`)",
      };
    }
    const version = parsed.version ?? this.#current(parsed.name);
    if (version === undefined)
      return {
        problem: `there is no image ${parsed.name}`,
        remedy: `import it: \`berth image import ${parsed.name} FOLDER\``,
      };
    const tree = join(this.folder, parsed.name, version, "tree");
    const state = folderState(tree);
    if (state !== undefined) return { name: parsed.name, version, tree, state };
    return {
      problem: `the image ${parsed.name} has no version ${version}`,
      remedy: "list the versions with `berth image ls`",
    };
  }

  /**
   * Protects a version from `berth image rm` while the handle is open. Throws IMAGE_ABSENT when somebody removed the
   * version after {@link resolve}.
   */
  hold({ tree, version }: ImageVersion): FdHandle {
    const folder = version === undefined ? tree : dirname(tree);
    const lock = lockFolder(folder, this.#sys);
    // A removal locks the folder, then renames it. It may do both between our open(2) and our flock(2).
    if (lock !== undefined && sameFile(lock, folder)) return lock;
    lock?.close();
    throw new BerthError(
      "IMAGE_ABSENT",
      `somebody has just removed the image at ${tree}; list the images with \`berth image ls\``,
    );
  }

  /** Every version, sorted by name. The latest import of each image comes first. */
  list(): ImageRecord[] {
    return this.#names().flatMap((name) => {
      const current = this.#current(name);
      return this.#versions(name)
        .map((version): ImageRecord => {
          const folder = join(this.folder, name, version);
          const path = join(folder, "manifest.json");
          const manifest = decodeManifest(
            path,
            system(path, () => readFileSync(path, "utf8")),
          );
          return { ...manifest, current: version === current, holders: lockHolders(folder) };
        })
        .sort((a, b) => (a.imported < b.imported ? 1 : -1));
    });
  }

  /** Makes a version the current one. The next lease of a berth with image `NAME` gets it. */
  use(name: string, version: string): void {
    using _lock = this.#exclusively();
    this.#mustBeThere(name, version);
    this.#setCurrent(join(this.folder, name), version);
  }

  /**
   * Removes one version, or the whole image. The version disappears at once. Then its files are deleted. Throws
   * IMAGE_ABSENT. Throws IMAGE_IN_USE when a process holds the version, or when it is the current one of several.
   */
  async remove(name: string, version?: string): Promise<void> {
    if (this.#versions(name).length === 0) throw absent(`there is no image ${name}`);
    using staging = Staging.open(this.folder, this.#sys);
    try {
      this.#moveAway(name, version, staging);
    } finally {
      await staging.clear();
    }
  }

  /**
   * Moves a finished version into place. `finished` is a folder with the tree and the manifest. The version becomes the
   * current one if `current` is true, or if it is the image's first. Throws IMAGE_IN_USE when the version exists.
   */
  publish(finished: string, { name, version }: Manifest, current: boolean): void {
    using _lock = this.#exclusively();
    this.mustBeFree(name, version);
    const place = join(this.folder, name);
    if (isFolder(place)) {
      moveDurably(finished, join(place, version));
      if (current) this.#setCurrent(place, version);
      return;
    }
    // One rename creates the image with its first version and the link to it.
    const image = `${finished}.image`;
    system(image, () => mkdirSync(image, { mode: 0o700 }));
    moveDurably(finished, join(image, version));
    this.#setCurrent(image, version);
    moveDurably(image, place);
  }

  /** Throws IMAGE_IN_USE when that version exists. */
  mustBeFree(name: string, version: string): void {
    if (!isFolder(join(this.folder, name, version))) return;
    throw new BerthError(
      "IMAGE_IN_USE",
      `${name}@${version} exists already; choose another --version, or make it the current one: \`berth image use ${name}@${version}\``,
    );
  }

  #setCurrent(place: string, version: string): void {
    const link = join(place, CURRENT);
    const next = `${link}.new`;
    system(next, () => {
      rmSync(next, { force: true });
      symlinkSync(version, next);
    });
    moveDurably(next, link);
  }

  #moveAway(name: string, version: string | undefined, staging: Staging): void {
    using _lock = this.#exclusively();
    const all = this.#versions(name);
    if (version !== undefined) this.#mustBeThere(name, version);
    const versions = version === undefined ? all : [version];
    const [other] = all.filter((one) => !versions.includes(one));
    if (other !== undefined && version === this.#current(name)) {
      throw new BerthError(
        "IMAGE_IN_USE",
        `${name}@${version} is the current version of ${name}; first run \`berth image use ${name}@${other}\`, or remove the whole image with \`berth image rm ${name}\``,
      );
    }
    const locks: FdHandle[] = [];
    try {
      for (const one of versions) locks.push(this.#lockForRemoval(name, one));
      const path = other === undefined ? join(this.folder, name) : join(this.folder, name, version ?? "");
      system(path, () => renameSync(path, join(staging.folder, "removed")));
      syncFolder(dirname(path));
    } finally {
      closeAll(locks);
    }
  }

  #exclusively(): FdHandle {
    system(this.folder, () => makeFolders(this.folder, 0o700));
    return lockBriefly(this.folder, this.#sys);
  }

  #lockForRemoval(name: string, version: string): FdHandle {
    const folder = join(this.folder, name, version);
    const lock = tryLock(folder, "exclusive", this.#sys);
    if (lock !== undefined) return lock;
    const holders = lockHolders(folder).join(", ") || "a process";
    throw new BerthError(
      "IMAGE_IN_USE",
      `${name}@${version} is in use: ${holders} holds it for running servers; stop those servers first (\`berth ls\` names them)`,
    );
  }

  #mustBeThere(name: string, version: string): void {
    const found = this.resolve(`${name}@${version}`);
    if ("problem" in found) throw absent(found.problem);
  }

  #current(name: string): string | undefined {
    try {
      return readlinkSync(join(this.folder, name, CURRENT));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      return system(name, () => {
        throw error;
      });
    }
  }

  #names(): string[] {
    return folders(this.folder);
  }

  #versions(name: string): string[] {
    return folders(join(this.folder, name));
  }
}

/** The folders in a folder, sorted. Skips hidden ones, such as the staging area. A missing folder has none. */
function folders(path: string): string[] {
  if (!isFolder(path)) return [];
  return system(path, () => readdirSync(path, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map(({ name }) => name)
    .sort();
}

function isFolder(path: string): boolean {
  return system(path, () => statSync(path, { throwIfNoEntry: false }))?.isDirectory() === true;
}

/** A shared lock on a folder; undefined if no folder has this path, or somebody removes it now. */
function lockFolder(path: string, sys: Native): FdHandle | undefined {
  try {
    return tryLock(path, "shared", sys, constants.O_DIRECTORY);
  } catch (error) {
    if (error instanceof SysError && ["ENOENT", "ENOTDIR"].includes(error.errnoName)) return undefined;
    throw error;
  }
}

function sameFile(lock: FdHandle, path: string): boolean {
  const ours = fstatSync(lock.fd);
  const there = statSync(path, { throwIfNoEntry: false });
  return there !== undefined && ours.ino === there.ino && ours.dev === there.dev;
}

function absent(what: string): BerthError {
  return new BerthError("IMAGE_ABSENT", `${what}; list the images with \`berth image ls\``);
}
