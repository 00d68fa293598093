/**
 * Builds roots for a broker that does not run as root. Images, folders and options are the same as in {@link Roots}. A
 * helper mounts the overlay in a user namespace of the broker's user. There are no ranges: all files belong to that
 * user. The helper takes a moment, so the first answer to a request is always {@link NotYet}.
 */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { makeFolders } from "../../make-folders.ts";
import type { Native } from "../../native.ts";
import { system } from "../disk/durable.ts";
import { type ImageSource, type ImageTree, labelOf } from "../images/image-source.ts";
import { mountRootless, type RootlessLayers } from "../mount/rootless-mount.ts";
import { Root, type RootFacts } from "./root.ts";
import type { NotYet, RootRequest, Unbuilt } from "./root-request.ts";

export interface RootlessOptions {
  /** The state folder. */
  readonly state: string;
  readonly images: ImageSource;
  readonly sys: Native;
}

/** A root that was built and not yet taken. `key` describes the request. */
interface Made {
  readonly key: string;
  readonly root: Root;
}

/** An unclaimed root is closed after this time. A client that still wants the root asks again at once. */
const UNCLAIMED_TIMEOUT_MS = 1000;

export class RootlessRoots {
  readonly #options: RootlessOptions;
  readonly #made = new Map<string, Made>();
  readonly #making = new Map<string, Promise<string | undefined>>();
  readonly #closing = new Map<string, Promise<undefined>>();
  #isClosed = false;

  constructor(options: RootlessOptions) {
    this.#options = options;
  }

  /** As {@link Roots.build}. */
  build(berth: string, request: RootRequest): Root | NotYet | Unbuilt {
    const before = this.#closing.get(berth) ?? this.#making.get(berth);
    if (before !== undefined) return { until: before };
    if (request.shift === "idmap" || request.shift === "metacopy") {
      return {
        problem: `a broker that does not run as root cannot shift owners: write root.shift = "none" or "auto", or start berthd as root`,
      };
    }
    const images: ImageTree[] = [];
    for (const reference of request.images) {
      const found = this.#options.images.resolve(reference);
      if ("problem" in found) return { problem: `${found.problem}; ${found.remedy}` };
      images.push(found);
    }
    const key = JSON.stringify([request, images.map(({ tree }) => tree)]);
    const made = this.#made.get(berth);
    if (made?.key === key) {
      this.#made.delete(berth);
      return made.root;
    }
    // Two overlays on one folder destroy each other's files. So the old root is closed before the new one is built.
    this.forget(berth);
    return { until: this.#closing.get(berth) ?? this.#begin(berth, key, request, images) };
  }

  /**
   * As {@link Roots.adopt}. A mount does not tell its user namespace. So a server can get this root as a directory, but
   * cannot enter it.
   */
  adopt(mount: FdHandle, facts: RootFacts): Root {
    const { images, sys } = this.#options;
    const holds: FdHandle[] = [];
    for (const label of facts.images) {
      const image = images.resolve(label);
      if (!("problem" in image)) holds.push(images.hold(image));
    }
    return new Root(mount, facts, holds, sys);
  }

  /** As {@link Roots.release}. */
  release(berth: string, root: Root): void {
    const closing = root.close().then(() => {
      if (this.#closing.get(berth) === closing) this.#closing.delete(berth);
      return undefined;
    });
    this.#closing.set(berth, closing);
  }

  /** As {@link Roots.forget}: closes a root that nobody has taken. */
  forget(berth: string): void {
    const made = this.#made.get(berth);
    if (made === undefined) return;
    this.#made.delete(berth);
    this.release(berth, made.root);
  }

  /** Closes the roots that nobody has taken. The owners of the others close them. */
  close(): void {
    this.#isClosed = true;
    for (const { root } of this.#made.values()) void root.close();
    this.#made.clear();
  }

  #begin(berth: string, key: string, request: RootRequest, images: readonly ImageTree[]): Promise<string | undefined> {
    const making = this.#make(berth, request, images)
      .then(
        (root) => this.#offer(berth, { key, root }),
        (error: unknown) => {
          if (error instanceof BerthError) return error.message;
          throw error;
        },
      )
      .finally(() => this.#making.delete(berth));
    this.#making.set(berth, making);
    return making;
  }

  async #make(berth: string, request: RootRequest, images: readonly ImageTree[]): Promise<Root> {
    const { sys, images: source } = this.#options;
    const holds: FdHandle[] = [];
    try {
      for (const image of images) holds.push(source.hold(image));
      const { mount, userns } = await mountRootless(this.#layers(berth, request, images), sys);
      const facts: RootFacts = {
        strategy: "none",
        images: images.map(labelOf),
        state: request.readOnly ? "readonly" : request.state,
      };
      return new Root(mount, facts, holds, sys, userns);
    } catch (error) {
      closeAll(holds);
      throw error;
    }
  }

  #offer(berth: string, made: Made): string | undefined {
    if (this.#isClosed) {
      void made.root.close();
      return "the broker is stopping; try again when the next one runs";
    }
    this.#made.set(berth, made);
    const timer = setTimeout(() => {
      if (this.#made.get(berth) !== made) return;
      this.#made.delete(berth);
      this.release(berth, made.root);
    }, UNCLAIMED_TIMEOUT_MS);
    timer.unref();
    return undefined;
  }

  #layers(berth: string, request: RootRequest, images: readonly ImageTree[]): RootlessLayers {
    const { readOnly, nosuid, nodev, state, size, inodes } = request;
    const inMemory = readOnly || state === "volatile";
    return {
      lowers: images.map(({ tree }) => tree).reverse(),
      changes: inMemory ? { size, inodes } : this.#folders(berth, images.at(-1)?.tree ?? "/"),
      readOnly,
      nosuid,
      nodev,
    };
  }

  /** Makes the upper and work folders. The overlay's root has the upper folder's mode. */
  #folders(berth: string, image: string): { readonly upper: string; readonly work: string } {
    const folder = join(this.#options.state, "roots", berth);
    const [upper, work] = [join(folder, "upper"), join(folder, "work")];
    system(folder, () => {
      makeFolders(folder, 0o700);
      if (statSync(upper, { throwIfNoEntry: false }) === undefined) mkdirSync(upper, statSync(image).mode & 0o7777);
      makeFolders(work, 0o700);
    });
    return { upper, work };
  }
}
