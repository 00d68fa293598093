/** The roots of a broker's berths, made from the images and ranges in its state folder. */
import { join } from "node:path";
import type { BerthSpec } from "../../config/keys/spec.ts";
import type { Problem } from "../../config/toml/problem.ts";
import { BerthError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { Images } from "../../rootfs/images/images.ts";
import { LatestImages } from "../../rootfs/images/latest-images.ts";
import type { Pool, Range } from "../../rootfs/ranges/range.ts";
import { Ranges } from "../../rootfs/ranges/ranges.ts";
import { ReserveTogether } from "../../rootfs/ranges/reserve-together.ts";
import type { Root, RootFacts } from "../../rootfs/roots/root.ts";
import { RootlessRoots } from "../../rootfs/roots/rootless.ts";
import { Roots } from "../../rootfs/roots/roots.ts";
import type { Berth } from "./berth/berth.ts";
import type { Refusal, Waiting } from "./request.ts";

/** The contents of the state folder, opened when the first berth has a root. */
interface State {
  readonly roots: Roots | RootlessRoots;
  /** Absent in a broker without root, which has only its user's id. */
  readonly ranges?: Ranges;
  readonly reserving?: ReserveTogether;
  readonly images: LatestImages;
}

export interface RootsOptions {
  readonly state?: string;
  readonly defaultState?: string;
  readonly ranges?: Pool;
}

export class BerthRoots {
  readonly #default: string | undefined;
  #folder: string | undefined;
  readonly #pool: Pool | undefined;
  readonly #log: Log;
  readonly #sys: Native;
  readonly #onInUse: (berth: string) => void;
  #state: State | undefined;

  /**
   * `state` is the broker's state folder. Without it, `defaultState` becomes that with the first berth that has a root.
   * `ranges` is the pool of ids, if it is not the default. `onInUse` is called while a client waits for a root, if the
   * one before it stays in use.
   */
  constructor({ state, defaultState, ranges }: RootsOptions, log: Log, sys: Native, onInUse: (berth: string) => void) {
    this.#folder = state;
    this.#default = defaultState;
    this.#pool = ranges;
    this.#log = log;
    this.#sys = sys;
    this.#onInUse = onInUse;
  }

  /** Why these berths cannot have roots. `lock` keeps others from the default folder, before it is used. */
  problems(
    specs: readonly BerthSpec[],
    lock: (folder: string) => void,
  ): { readonly berth: string; readonly problem: Problem }[] {
    const rooted = specs.filter(({ root }) => root !== undefined);
    if (this.#folder !== undefined || rooted.length === 0) return [];
    const why = this.#useDefault(lock);
    if (why === undefined) return [];
    return rooted.map(({ name, origin }) => ({
      berth: name,
      problem: { ...origin, message: `${name} has a root, but ${why}`, remedy: "start it with --state DIR" },
    }));
  }

  /** The folder of images, roots and ranges; undefined while no berth has a root, or where there can be none. */
  get folder(): string | undefined {
    return this.#folder;
  }

  /** A sentence if the default folder cannot be used. */
  #useDefault(lock: (folder: string) => void): string | undefined {
    if (this.#default === undefined) return "this broker has no folder for images and ranges";
    try {
      lock(this.#default);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      return `its folder ${this.#default} cannot be used: ${error.message}`;
    }
    this.#folder = this.#default;
    return undefined;
  }

  /** The range reserved for a berth. */
  rangeOf({ name, root }: BerthSpec): Range | undefined {
    if (root === undefined || root.shift === "none") return undefined;
    return this.#open().ranges?.of(name);
  }

  /** Builds the berth's root if it needs one and has none. Undefined: nothing to wait for. */
  ensure(berth: Berth): Waiting | Refusal | undefined {
    const { root } = berth.spec;
    if (berth.root !== undefined || root === undefined) return undefined;
    const built = this.#open().roots.build(berth.name, root);
    if ("until" in built) return { kind: "waiting", berth: berth.name, until: built.until };
    if ("problem" in built) return { kind: "no-root", berth: berth.name, message: built.problem };
    this.#give(berth, built);
    this.#log("info", `berth ${berth.name}: root of ${describe(built)}`, {
      event: "root",
      berth: berth.name,
      strategy: built.facts.strategy,
    });
    return undefined;
  }

  /** Restores a root that an earlier broker built for the present tenants. */
  adopt(berth: Berth, mount: FdHandle, facts: RootFacts): void {
    this.#give(berth, this.#open().roots.adopt(mount, facts));
    berth.generation++;
  }

  /** Releases the berth's root, if it has one. With `next: false`, also the one built ahead. */
  release(berth: Berth, { next = true }: { readonly next?: boolean } = {}): void {
    const { root } = berth;
    if (root !== undefined) {
      berth.root = undefined;
      berth.rootCopy?.drop();
      berth.rootCopy = undefined;
      this.#open().roots.release(berth.name, root, next ? berth.spec.root : undefined);
    }
    if (!next) this.forget(berth);
  }

  /** Releases the root of a berth without tenants: a root belongs to its tenants. */
  dropIdle(berth: Berth): void {
    if (berth.lease === undefined && berth.incoming === undefined) this.release(berth);
  }

  /** Discards the root that was built ahead: it may not fit the new configuration. */
  forget({ name }: Berth): void {
    this.#state?.roots.forget(name);
  }

  close(): void {
    this.#state?.roots.close();
    this.#state?.reserving?.close();
    this.#state?.ranges?.close();
    this.#state = undefined;
  }

  #give(berth: Berth, root: Root): void {
    const { images } = this.#open();
    berth.root = root;
    berth.range = root.facts.range;
    berth.latestImages = () => images.labels(berth.spec.root?.images ?? root.facts.images);
  }

  #open(): State {
    if (this.#state !== undefined) return this.#state;
    const folder = this.#folder ?? "/nonexistent"; // problems() has rejected such berths
    const images = new Images(join(folder, "images"), this.#sys);
    if (process.geteuid?.() !== 0) {
      const roots = new RootlessRoots({ state: folder, images, sys: this.#sys });
      this.#state = { roots, images: new LatestImages(images) };
      return this.#state;
    }
    const ranges = Ranges.open(join(folder, "ranges"), {
      sys: this.#sys,
      ...(this.#pool !== undefined && { pool: this.#pool }),
    });
    const reserving = new ReserveTogether(ranges);
    const roots = new Roots({
      state: folder,
      images,
      ranges: reserving,
      onInUse: this.#onInUse,
      onFallback: (reason) => {
        const message = `this system cannot idmap images, so the broker shifts their owners (metacopy): ${reason}`;
        this.#log("notice", message, { event: "root-fallback" });
      },
      sys: this.#sys,
    });
    this.#state = { roots, ranges, reserving, images: new LatestImages(images) };
    return this.#state;
  }
}

function describe({ facts: { images, strategy, range } }: Root): string {
  return `${images.join(" + ")}, by ${strategy}${range === undefined ? "" : `, with the ids from ${range.base}`}`;
}
