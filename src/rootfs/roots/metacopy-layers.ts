/**
 * The way without idmapped mounts: each file of the images gets its owner once, as metadata in an upper layer of its
 * own (overlayfs with metacopy=on), and what results is a lower layer of the berth's root. shift-own does it, in a
 * process of its own, and it may be stopped at any time: what is finished says so in a file beside the layer, and what
 * is not is gone on with.
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
import { closeUpper, METACOPY, mountOverlay, openFolder } from "../mount/overlay.ts";
import { ownerOf, persistentUpper } from "../mount/upper.ts";
import type { Range } from "../ranges/range.ts";

/** A layer that is finished, kept from being removed by `lock`. */
export interface ShiftedLayer {
  readonly upper: string;
  readonly lock: FdHandle;
}

/** How often to look whether another process has finished, in milliseconds. */
const PAUSE = 100;
/** What is kept of the words of a shift that failed. */
const MAX_WORDS = 2000;

export class MetacopyLayers {
  readonly #sys: Native;
  readonly #running = new Map<string, Promise<string | undefined>>();
  readonly #children = new Set<ChildProcess>();
  #isClosed = false;

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /**
   * The layer of these images with the ids of the range, in `folder`; or a promise, when it is still to be made: of
   * nothing once it is, or of why it cannot be.
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

  /** Stops what is under way; the next broker goes on with it. */
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
        // The last one to have it open writes the layer to its disk: before it is called finished.
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

  /** Removes what was made for images or ranges that the berth had before, unless somebody uses it still. */
  async #clear(folder: string, current: string): Promise<void> {
    for (const name of system(folder, () => readdirSync(folder)).filter((entry) => entry !== current)) {
      const path = join(folder, name);
      using lock = tryLock(path, "exclusive", this.#sys);
      if (lock === undefined) continue;
      // No half of a layer keeps the name of a whole one.
      await rm(join(path, "done"), { force: true });
      await rm(path, { recursive: true, force: true });
    }
  }

  /** A shift-own that outlived its broker has the lock still, and two at one layer would destroy it. */
  async #lock(path: string): Promise<FdHandle | undefined> {
    while (!this.#isClosed) {
      const lock = tryLock(path, "exclusive", this.#sys);
      if (lock !== undefined) return lock;
      await setTimeout(PAUSE);
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

  /** Runs shift-own on the mount; what it said if it failed. It inherits the lock, and keeps it if we should die. */
  async #run(mount: FdHandle, lock: FdHandle, { base, count }: Range): Promise<string | undefined> {
    if (this.#isClosed) return STOPPING;
    const args = ["-s", String(base), "-r", String(count), "/proc/self/fd/3/."];
    const child = spawn(programPath("shift-own"), args, { stdio: ["ignore", "ignore", "pipe", mount.fd, lock.fd] });
    this.#children.add(child);
    let words = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      words = (words + text).slice(-MAX_WORDS);
    });
    const end = await new Promise<string | number>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("close", (code, signal) => resolve(signal ?? code ?? 0));
    });
    this.#children.delete(child);
    if (end === 0) return undefined;
    if (this.#isClosed) return STOPPING;
    return `the owners of its files could not be shifted: ${words.trim() || `shift-own ended with ${end}`}`;
  }
}

/** What the layer is made of. A version never changes, and a folder given by its path must not. */
function keyOf(images: readonly ImageTree[], { base, count }: Range): string {
  const text = JSON.stringify([images.map(({ tree, version }) => [tree, version]), base, count]);
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

function isDone(path: string): boolean {
  const marker = join(path, "done");
  return system(marker, () => statSync(marker, { throwIfNoEntry: false })) !== undefined;
}

const STOPPING = "the broker is stopping; ask the next one";
