/**
 * Shifts the owners of image files where idmapped mounts do not work. The program shift-own writes each file's new
 * owner into a separate layer, as metadata only (overlayfs with metacopy=on). That layer becomes a lower layer of the
 * berth's root. shift-own may be stopped at any time: the file `done` beside a layer marks a finished one, and the next
 * run continues an unfinished one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { programPath } from "../../launcher-path.ts";
import type { Native } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import { system, writeDurably } from "../disk/durable.ts";
import { tryLock } from "../disk/lock.ts";
import { type ImageTree, labelOf } from "../images/image-source.ts";
import { helperProblem } from "../mount/helper-problem.ts";
import { closeUpper, METACOPY, mountOverlay, openFolder } from "../mount/overlay.ts";
import { ownerOf, persistentUpper } from "../mount/upper.ts";
import type { Range } from "../ranges/range.ts";

/** A finished layer. `lock` protects it from removal. */
export interface ShiftedLayer {
  readonly upper: string;
  readonly lock: FdHandle;
}

/** How often to check whether another process has freed the lock. */
const POLL_INTERVAL_MS = 100;

export class MetacopyLayers {
  readonly #sys: Native;
  readonly #running = new Map<string, Promise<string | undefined>>();
  readonly #children = new Set<ChildProcess>();
  #isClosed = false;

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /**
   * The layer in `folder` for these images with the ids of the range. If it does not exist yet, a promise: it resolves
   * to undefined when the layer is finished, or to the problem.
   */
  layer(folder: string, images: readonly ImageTree[], range: Range): ShiftedLayer | Promise<string | undefined> {
    const path = join(folder, keyOf(images, range));
    const running = this.#running.get(path);
    if (running !== undefined) return running;
    if (isDone(path)) {
      const lock = tryLock(path, "shared", this.#sys);
      if (lock !== undefined && isDone(path)) return { upper: join(path, "upper"), lock };
      lock?.close();
    }
    const shift = this.#make(path, images, range)
      .catch((error: unknown) => {
        if (error instanceof BerthError) return error.message;
        throw error;
      })
      .finally(() => this.#running.delete(path));
    this.#running.set(path, shift);
    return shift;
  }

  /** Stops running shifts. The next broker continues them. */
  close(): void {
    this.#isClosed = true;
    for (const child of this.#children) child.kill("SIGTERM");
  }

  async #make(path: string, images: readonly ImageTree[], range: Range): Promise<string | undefined> {
    system(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
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
    while (!this.#isClosed) {
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
    if (this.#isClosed) return STOPPING;
    const args = ["-s", String(base), "-r", String(count), "/proc/self/fd/3/."];
    const child = spawn(programPath("shift-own"), args, { stdio: ["ignore", "ignore", "pipe", mount.fd, lock.fd] });
    this.#children.add(child);
    const problem = await helperProblem(child, "shift-own");
    this.#children.delete(child);
    if (problem === undefined) return undefined;
    return this.#isClosed ? STOPPING : `shift-own could not shift the owners of the image's files: ${problem}`;
  }
}

/** A key of the layer's images and range. Versions never change, and an image folder named by its path must not. */
function keyOf(images: readonly ImageTree[], { base, count }: Range): string {
  const text = JSON.stringify([images.map(({ tree, version }) => [tree, version]), base, count]);
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

function isDone(path: string): boolean {
  const marker = join(path, "done");
  return system(marker, () => statSync(marker, { throwIfNoEntry: false })) !== undefined;
}

const STOPPING = "the broker is stopping; try again when the next one runs";
