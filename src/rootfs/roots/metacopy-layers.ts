/**
 * Shifts the owners of image files where idmapped mounts do not work. The program shift-own writes each file's new
 * owner into a separate layer, as metadata only (overlayfs with metacopy=on). That layer becomes a lower layer of the
 * berth's root. shift-own may be stopped at any time: the file `done` beside a layer marks a finished one, and the next
 * run continues an unfinished one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { programPath } from "../../launcher-path.ts";
import { makeFolders } from "../../make-folders.ts";
import type { Native } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import { system, writeDurably } from "../disk/durable.ts";
import { tryLock } from "../disk/lock.ts";
import { pauseFor } from "../disk/pause.ts";
import { type ImageTree, labelOf } from "../images/image-source.ts";
import { helperProblem } from "../mount/helper-problem.ts";
import { closeUpper, METACOPY, mountOverlay, openFolder } from "../mount/overlay.ts";
import { ownerOf, persistentUpper } from "../mount/upper.ts";
import type { Range } from "../ranges/range.ts";
import { listingOf } from "./listing.ts";

/** The state of folders that images name by their paths, as it was a moment ago. */
interface Listing {
  readonly digest: string;
  readonly at: number;
}

/** A finished layer. `lock` protects it from removal. */
export interface ShiftedLayer {
  readonly upper: string;
  readonly lock: FdHandle;
}

/** How often to check whether another process has freed the lock. */
const POLL_INTERVAL_MS = 100;
/** A listing is used by the client that waited for it. Later the folders may have changed. */
const LISTING_TIMEOUT_MS = 1000;

export class MetacopyLayers {
  readonly #sys: Native;
  readonly #running = new Map<string, Promise<string | undefined>>();
  readonly #children = new Set<ChildProcess>();
  readonly #listings = new Map<string, Listing>();
  readonly #stop = new AbortController();

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /**
   * The layer in `folder` for these images with the ids of the range. If it does not exist yet, a promise: it resolves
   * to undefined when the layer is finished, or to the problem. An image that is named by its path can change. So its
   * files are listed each time, which takes a promise, too.
   */
  layer(folder: string, images: readonly ImageTree[], range: Range): ShiftedLayer | Promise<string | undefined> {
    const key = JSON.stringify([folder, images.map(({ tree, version }) => [tree, version]), range.base, range.count]);
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const listed = this.#listed(key, images);
    if (listed !== undefined) {
      const path = join(folder, nameOf(images, range, listed));
      if (isDone(path)) {
        const lock = tryLock(path, "shared", this.#sys);
        if (lock !== undefined && isDone(path)) return { upper: join(path, "upper"), lock };
        lock?.close();
      }
    }
    const made = this.#prepare(key, folder, images, range, listed)
      .catch((error: unknown) => {
        if (this.#stop.signal.aborted) return STOPPING;
        if (error instanceof BerthError) return error.message;
        throw error;
      })
      .finally(() => this.#running.delete(key));
    this.#running.set(key, made);
    return made;
  }

  /** Stops running shifts. The next broker continues them. */
  close(): void {
    this.#stop.abort(new Error(STOPPING));
    this.#listings.clear();
    for (const child of this.#children) child.kill("SIGTERM");
  }

  /** The listing of the images, once. Undefined when there is none, or an old one. */
  #listed(key: string, images: readonly ImageTree[]): string | undefined {
    if (images.every(({ version }) => version !== undefined)) return "";
    const listing = this.#listings.get(key);
    this.#listings.delete(key);
    return listing !== undefined && performance.now() - listing.at < LISTING_TIMEOUT_MS ? listing.digest : undefined;
  }

  async #prepare(
    key: string,
    folder: string,
    images: readonly ImageTree[],
    range: Range,
    listed: string | undefined,
  ): Promise<string | undefined> {
    const digest = listed ?? (await listingOf(images, this.#sys, pauseFor(this.#stop.signal)));
    const path = join(folder, nameOf(images, range, digest));
    const problem = isDone(path) ? undefined : await this.#make(path, images, range);
    if (digest !== "" && problem === undefined && !this.#stop.signal.aborted)
      this.#listings.set(key, { digest, at: performance.now() });
    return problem;
  }

  async #make(path: string, images: readonly ImageTree[], range: Range): Promise<string | undefined> {
    system(path, () => makeFolders(path, 0o700));
    const lock = await this.#lock(path);
    if (lock === undefined) return STOPPING;
    try {
      if (isDone(path)) return undefined;
      const mount = this.#mount(path, images);
      let problem: string | undefined;
      try {
        problem = await this.#run(mount, lock, range);
      } finally {
        // The last close writes the layer to disk. Only then is it marked as finished.
        await closeLater(mount);
      }
      if (problem !== undefined) return problem;
      writeDurably(join(path, "done"), `${images.map(labelOf).join("\n")}\n`);
      await this.#clear(dirname(path), basename(path));
      return undefined;
    } finally {
      lock.close();
    }
  }

  /** Removes the layers for images or ranges that the berth had before, unless a root still uses them. */
  async #clear(folder: string, current: string): Promise<void> {
    for (const name of system(folder, () => readdirSync(folder)).filter((entry) => entry !== current)) {
      const path = join(folder, name);
      using lock = tryLock(path, "exclusive", this.#sys);
      if (lock === undefined) continue;
      // Remove the mark first: a layer that is removed in part must not look finished.
      await rm(join(path, "done"), { force: true });
      await rm(path, { recursive: true, force: true });
    }
  }

  /**
   * Waits for the lock. A shift-own that outlived its broker still holds it, and two on one layer would destroy it.
   * Undefined when the broker stops.
   */
  async #lock(path: string): Promise<FdHandle | undefined> {
    while (!this.#stop.signal.aborted) {
      const lock = tryLock(path, "exclusive", this.#sys);
      if (lock !== undefined) return lock;
      await setTimeout(POLL_INTERVAL_MS);
    }
    return undefined;
  }

  #mount(path: string, images: readonly ImageTree[]): FdHandle {
    const top = images.at(-1)?.tree ?? path;
    const upper = persistentUpper(path, ownerOf(top, undefined), undefined, this.#sys);
    const lowers: FdHandle[] = [];
    try {
      for (const { tree } of images) lowers.unshift(openFolder(tree, this.#sys));
      return mountOverlay({ lowers, upper }, METACOPY, 0, this.#sys);
    } finally {
      closeAll(lowers);
      closeUpper(upper);
    }
  }

  /** Runs shift-own on the mount. Returns its error if it failed. It inherits the lock, and holds it if berthd dies. */
  async #run(mount: FdHandle, lock: FdHandle, { base, count }: Range): Promise<string | undefined> {
    if (this.#stop.signal.aborted) return STOPPING;
    const args = ["-s", String(base), "-r", String(count), "/proc/self/fd/3/."];
    const child = spawn(programPath("shift-own"), args, { stdio: ["ignore", "ignore", "pipe", mount.fd, lock.fd] });
    this.#children.add(child);
    const problem = await helperProblem(child, "shift-own");
    this.#children.delete(child);
    if (problem === undefined) return undefined;
    return this.#stop.signal.aborted
      ? STOPPING
      : `shift-own could not shift the owners of the image's files: ${problem}`;
  }
}

/** The name of a layer. Versions never change. A folder that is named by its path has changed if its listing has. */
function nameOf(images: readonly ImageTree[], { base, count }: Range, listing: string): string {
  const named = images.map(({ tree, version }) => [tree, version]);
  const text = JSON.stringify([named, base, count, ...(listing === "" ? [] : [listing])]);
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

function isDone(path: string): boolean {
  const marker = join(path, "done");
  return system(marker, () => statSync(marker, { throwIfNoEntry: false })) !== undefined;
}

const STOPPING = "the broker is stopping; try again when the next one runs";
