/**
 * The images of a state folder: `NAME/VERSION/tree` with its `manifest.json`, and `NAME/current`, a link to a version.
 * What stands there is whole: versions come and go by a single rename(2), to and from {@link Staging}. It never
 * changes what is in a tree.
 */
import {
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
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { type Native, native } from "../../native.ts";
import { moveDurably, syncFolder, system } from "../disk/durable.ts";
import { lockHolders } from "../disk/holders.ts";
import { lockBriefly, tryLock } from "../disk/lock.ts";
import { CURRENT, IMAGE_RULE, parseReference } from "./image-name.ts";
import { decodeManifest, type Manifest } from "./manifest.ts";
import { Staging } from "./staging.ts";

/** A tree that can be the lower layer of a root. */
export interface ImageVersion {
  /** The image's name, or the path if that is what it was given by. */
  readonly name: string;
  /** Absent of a tree that was given by its path. */
  readonly version?: string;
  /** Absolute path of the tree. */
  readonly tree: string;
}

/** Why a reference leads to no tree, and what to do. */
export interface ImageProblem {
  readonly problem: string;
  readonly remedy: string;
}

/** One version, as `berth image ls` tells of it. */
export interface ImageRecord extends Manifest {
  readonly current: boolean;
  /** Processes that hold it, as `berthd (pid 77)`. */
  readonly holders: readonly string[];
}

export class Images {
  readonly folder: string;
  readonly #sys: Native;

  /** The folder of images, `STATE/images`; it need not exist. */
  constructor(folder: string, sys: Native = native) {
    this.folder = folder;
    this.#sys = sys;
  }

  /** What a reference means now: `NAME` the current version, `NAME@VERSION` that one, a path itself. */
  resolve(reference: string): ImageVersion | ImageProblem {
    const parsed = parseReference(reference);
    if (parsed === undefined)
      return {
        problem: `"${reference}" names no image`,
        remedy: `write NAME, NAME@VERSION or an absolute path; ${IMAGE_RULE}`,
      };
    if (parsed.kind === "path") {
      if (isFolder(parsed.path)) return { name: parsed.path, tree: parsed.path };
      return { problem: `there is no folder ${parsed.path}`, remedy: "correct the path, or name an image" };
    }
    const version = parsed.version ?? this.#current(parsed.name);
    if (version === undefined)
      return { problem: `there is no image ${parsed.name}`, remedy: `berth image import ${parsed.name} …` };
    const tree = join(this.folder, parsed.name, version, "tree");
    if (isFolder(tree)) return { name: parsed.name, version, tree };
    return {
      problem: `the image ${parsed.name} has no version ${version}`,
      remedy: "berth image ls shows which it has",
    };
  }

  /**
   * Keeps `berth image rm` off a version for as long as the handle is open. Of a path, too, though nothing removes that.
   * Throws IMAGE_ABSENT when it was removed between {@link resolve} and now.
   */
  hold({ tree, version }: ImageVersion): FdHandle {
    const folder = version === undefined ? tree : dirname(tree);
    const lock = isFolder(folder) ? tryLock(folder, "shared", this.#sys) : undefined;
    // Whoever removes it has the lock first and then moves it away, maybe between our open(2) and our flock(2).
    if (lock !== undefined && sameFile(lock, folder)) return lock;
    lock?.close();
    throw new BerthError(
      "IMAGE_ABSENT",
      `the image at ${tree} was removed just now; berth image ls shows what there is`,
    );
  }

  /** Every version, by name, the latest import of each first. */
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

  /** Makes a version the current one: what `NAME` means from the next lease on. Takes the same time for any size. */
  use(name: string, version: string): void {
    using _lock = this.#exclusively();
    this.#mustBeThere(name, version);
    this.#setCurrent(join(this.folder, name), version);
  }

  /**
   * Removes a version, or all of an image: from then on it is not there, and what it took up on disk follows. Throws
   * IMAGE_ABSENT, and IMAGE_IN_USE when somebody holds it, or it is the current one of several.
   */
  async remove(name: string, version?: string): Promise<void> {
    if (this.#versions(name).length === 0) throw absent(`there is no image ${name}`);
    using workshop = Staging.open(this.folder, this.#sys);
    try {
      this.#moveAway(name, version, workshop);
    } finally {
      await workshop.clear();
    }
  }

  /**
   * Puts a finished version, a folder with its tree and manifest, in its place; `current` makes it the current one, as
   * the first one is in any case. Throws IMAGE_IN_USE when that version is there already.
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
    // The image comes into being with its first version and the link to it, all at once.
    const image = `${finished}.image`;
    system(image, () => mkdirSync(image, { mode: 0o700 }));
    moveDurably(finished, join(image, version));
    this.#setCurrent(image, version);
    moveDurably(image, place);
  }

  /** Throws IMAGE_IN_USE when that version is there already. */
  mustBeFree(name: string, version: string): void {
    if (!isFolder(join(this.folder, name, version))) return;
    throw new BerthError(
      "IMAGE_IN_USE",
      `${name}@${version} is there already; make it the current one (berth image use ${name}@${version}), or choose another --version`,
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

  #moveAway(name: string, version: string | undefined, workshop: Staging): void {
    using _lock = this.#exclusively();
    const all = this.#versions(name);
    if (version !== undefined) this.#mustBeThere(name, version);
    const versions = version === undefined ? all : [version];
    const [other] = all.filter((one) => !versions.includes(one));
    if (other !== undefined && version === this.#current(name)) {
      throw new BerthError(
        "IMAGE_IN_USE",
        `${name}@${version} is the current version of ${name}; first \`berth image use ${name}@${other}\`, or remove all of ${name}`,
      );
    }
    const locks: FdHandle[] = [];
    try {
      for (const one of versions) locks.push(this.#lockForRemoval(name, one));
      const path = other === undefined ? join(this.folder, name) : join(this.folder, name, version ?? "");
      system(path, () => renameSync(path, join(workshop.folder, "removed")));
      syncFolder(dirname(path));
    } finally {
      closeAll(locks);
    }
  }

  #exclusively(): FdHandle {
    system(this.folder, () => mkdirSync(this.folder, { recursive: true, mode: 0o700 }));
    return lockBriefly(this.folder, this.#sys);
  }

  #lockForRemoval(name: string, version: string): FdHandle {
    const folder = join(this.folder, name, version);
    const lock = tryLock(folder, "exclusive", this.#sys);
    if (lock !== undefined) return lock;
    const holders = lockHolders(folder).join(", ") || "a process";
    throw new BerthError(
      "IMAGE_IN_USE",
      `${name}@${version} is in use: ${holders} holds it for running servers; end their leases, or stop them, first`,
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

/** The folders in a folder that are no work in progress, in order; none if it is not there. */
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

function sameFile(lock: FdHandle, path: string): boolean {
  const ours = fstatSync(lock.fd);
  const there = statSync(path, { throwIfNoEntry: false });
  return there !== undefined && ours.ino === there.ino && ours.dev === there.dev;
}

function absent(what: string): BerthError {
  return new BerthError("IMAGE_ABSENT", `${what}; berth image ls shows what there is`);
}
