/**
 * Builds the roots of berths: images below, what tenants write above, ids of the berth's range in it. What can be done
 * at once is done at once, in the same time for any image; what takes long is waited for by whoever asked, and by
 * nobody else. On disk, below the state folder: `roots/BERTH/upper` and `work`, and `roots/BERTH/shifted/…`.
 */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { BerthError, SysError } from "../errors.ts";
import { closeAll, type FdHandle } from "../fd.ts";
import { MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, type Native } from "../native.ts";
import { closeLater } from "./close-later.ts";
import { system } from "./durable.ts";
import { Endings } from "./endings.ts";
import { idmapTree, rangeNamespace } from "./idmap.ts";
import { type ImageSource, type ImageTree, labelOf } from "./image-source.ts";
import { isInUse } from "./in-use.ts";
import { closeUpper, METACOPY, mountOverlay, type OverlayOptions, openFolder, PLAIN, type Upper } from "./overlay.ts";
import type { Range } from "./range.ts";
import { Root, type RootFacts, type Strategy } from "./root.ts";
import { Shifts } from "./shifts.ts";
import { ownerOf, persistentUpper, volatileUpper } from "./upper.ts";

/** What is asked for; the `[root]` of a berth's configuration. */
export interface RootRequest {
  readonly images: readonly string[];
  readonly state: "persistent" | "volatile";
  readonly size?: number;
  readonly shift: "auto" | Strategy;
  readonly nosuid: boolean;
  readonly nodev: boolean;
  readonly readOnly: boolean;
  readonly range?: number;
}

/** Not now: ask again when this has resolved, unless it resolved with why that would be in vain. */
export interface NotYet {
  readonly until: Promise<string | undefined>;
}

/** Not at all: why, and what to do, in a sentence. */
export interface Unbuilt {
  readonly problem: string;
}

export interface RootsOptions {
  /** The state folder. */
  readonly state: string;
  readonly images: ImageSource;
  /** Reserves a range, for ever (ranges.ts). */
  readonly ranges: { reserve(owner: string, wanted?: number): Range };
  /** Told once for each file system that cannot show its files with other ids: `auto` takes metacopy there. */
  readonly onFallback: (reason: string) => void;
  readonly sys: Native;
}

/** How long to wait for processes that a tenant has left behind to end, and how often to look, in milliseconds. */
const PATIENCE = 1000;
const PAUSE = 50;

/** What a kernel or a file system without idmapped layers says. */
const NOT_MAPPABLE: ReadonlySet<string> = new Set(["EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM"]);
/** What the broker is short of just now says nothing about the root. */
const SCARCE: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);

export class Roots {
  readonly #options: RootsOptions;
  readonly #sys: Native;
  readonly #shifts: Shifts;
  readonly #endings: Endings;
  /** Of persistent roots: where {@link Endings} has them. */
  readonly #watches = new WeakMap<Root, number>();
  /** By berth: its last root being unmounted, its upper folder being used by somebody. */
  readonly #closing = new Map<string, Promise<undefined>>();
  readonly #waiting = new Map<string, Promise<string | undefined>>();
  /** Berths whose upper folder nobody uses. Only we make overlays of them, so they are free until we do. */
  readonly #free = new Set<string>();
  /** File systems that cannot show their files with other ids, by their devices. */
  readonly #unmappable = new Set<string>();
  readonly #stop = new AbortController();

  constructor(options: RootsOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.#shifts = new Shifts(options.sys);
    this.#endings = new Endings(options.sys);
  }

  /** The root of a berth as its images are now. Throws only for what the broker itself is short of. */
  build(berth: string, request: RootRequest): Root | NotYet | Unbuilt {
    const before = this.#closing.get(berth) ?? this.#waiting.get(berth);
    if (before !== undefined) return { until: before };
    try {
      return this.#build(berth, request);
    } catch (error) {
      if (!(error instanceof BerthError) || (error instanceof SysError && SCARCE.has(error.errnoName))) throw error;
      return { problem: error.message };
    }
  }

  /** Goes on with a root that another broker built. Takes the mount. */
  adopt(mount: FdHandle, facts: RootFacts): Root {
    const holds: FdHandle[] = [];
    for (const label of facts.images) {
      const image = this.#options.images.resolve(label);
      // What was removed while there was no broker cannot be kept from being removed.
      if (!("problem" in image)) holds.push(this.#options.images.hold(image));
    }
    return this.#root(mount, facts, holds);
  }

  /** Lets go of a berth's root. The next one is built when nothing of this one is left. */
  release(berth: string, root: Root): void {
    const closing = root.close().then(() => {
      const watch = this.#watches.get(root);
      if (watch !== undefined && this.#endings.hasEnded(watch)) this.#free.add(berth);
      if (this.#closing.get(berth) === closing) this.#closing.delete(berth);
      return undefined;
    });
    this.#closing.set(berth, closing);
  }

  /** Stops what is under way. Roots that were built are their owners'. */
  close(): void {
    this.#stop.abort();
    this.#shifts.close();
    this.#endings.close();
  }

  #root(mount: FdHandle, facts: RootFacts, holds: readonly FdHandle[]): Root {
    const root = new Root(mount, facts, holds, this.#sys);
    const watch = facts.state === "persistent" ? this.#endings.watch(mount) : undefined;
    if (watch !== undefined) this.#watches.set(root, watch);
    return root;
  }

  #build(berth: string, request: RootRequest): Root | NotYet | Unbuilt {
    const images: ImageTree[] = [];
    for (const reference of request.images) {
      const found = this.#options.images.resolve(reference);
      if ("problem" in found) return { problem: `${found.problem}; ${found.remedy}` };
      images.push(found);
    }
    const range = request.shift === "none" ? undefined : this.#options.ranges.reserve(berth, request.range);
    const plan: Plan = { berth, folder: join(this.#options.state, "roots", berth), request, images, range, holds: [] };
    let root: Root | undefined;
    try {
      for (const image of images) plan.holds.push(this.#options.images.hold(image));
      const upper = this.#upper(plan);
      if (upper instanceof Promise) return { until: upper };
      const mounted = this.#mount(plan, upper);
      if (mounted instanceof Root) root = mounted;
      return mounted;
    } finally {
      if (root === undefined) closeAll(plan.holds);
    }
  }

  /** Where this root's changes go; a promise while somebody else still writes there. */
  #upper({ berth, folder, request, images, range }: Plan): Upper | undefined | Promise<string | undefined> {
    if (request.readOnly) return undefined;
    const owner = ownerOf(images.at(-1)?.tree ?? "/", range);
    if (request.state === "volatile") return volatileUpper(request.size, owner, this.#sys);
    const upper = persistentUpper(folder, owner, range, this.#sys);
    let isFree = this.#free.delete(berth);
    try {
      isFree ||= !isInUse(upper.upper, this.#sys);
      return isFree ? upper : this.#whenFree(berth, folder);
    } finally {
      if (!isFree) closeUpper(upper);
    }
  }

  #mount(plan: Plan, upper: Upper | undefined): Root | NotYet {
    try {
      const { shift } = plan.request;
      if (shift !== "auto") return this.#mountBy(shift, plan, upper);
      const devices = plan.images.map(({ tree }) => system(tree, () => statSync(tree)).dev).join();
      if (!this.#unmappable.has(devices)) {
        try {
          return this.#mountBy("idmap", plan, upper);
        } catch (error) {
          if (!(error instanceof SysError && NOT_MAPPABLE.has(error.errnoName))) throw error;
          this.#unmappable.add(devices);
          this.#options.onFallback(error.message);
        }
      }
      return this.#mountBy("metacopy", plan, upper);
    } finally {
      if (upper !== undefined) closeUpper(upper);
    }
  }

  #mountBy(strategy: Strategy, plan: Plan, upper: Upper | undefined): Root | NotYet {
    const { request, images, range, holds } = plan;
    const lowers = this.#lowers(strategy, plan);
    if (lowers instanceof Promise) return { until: lowers };
    try {
      // One layer is no overlay; and a copy of the image's own mount could be made writable again by whoever gets it.
      if (upper === undefined && lowers.length === 1) lowers.push(this.#emptyFolder());
      const options: OverlayOptions = {
        ...(strategy === "metacopy" ? METACOPY : PLAIN),
        // What is in memory need not be written out, neither by fsync(2) nor at the end.
        ...(upper?.mount !== undefined && { volatile: "" }),
      };
      const mount = mountOverlay(
        { lowers, ...(upper !== undefined && { upper }) },
        options,
        attributes(request),
        this.#sys,
      );
      const facts: RootFacts = {
        strategy,
        images: images.map(labelOf),
        state: request.readOnly ? "readonly" : request.state,
        ...(range !== undefined && { range }),
      };
      return this.#root(mount, facts, holds);
    } finally {
      for (const lower of lowers) void closeLater(lower);
    }
  }

  /** The images as layers, from the top down. */
  #lowers(strategy: Strategy, { folder, images, range, holds }: Plan): FdHandle[] | Promise<string | undefined> {
    const open = (layer: (tree: string) => FdHandle): FdHandle[] => {
      const layers: FdHandle[] = [];
      try {
        for (const { tree } of images) layers.unshift(layer(tree));
        return layers;
      } catch (error) {
        closeAll(layers);
        throw error;
      }
    };
    if (range === undefined || strategy === "none") return open((tree) => openFolder(tree, this.#sys));
    if (strategy === "idmap") {
      using namespace = rangeNamespace(range, this.#sys);
      return open((tree) => idmapTree(tree, namespace, this.#sys));
    }
    const shifted = this.#shifts.layer(join(folder, "shifted"), images, range);
    if (shifted instanceof Promise) return shifted;
    holds.push(shifted.lock);
    const layers = open((tree) => openFolder(tree, this.#sys));
    try {
      return [openFolder(shifted.upper, this.#sys), ...layers];
    } catch (error) {
      closeAll(layers);
      throw error;
    }
  }

  #emptyFolder(): FdHandle {
    // No berth's name begins with a dot.
    const path = join(this.#options.state, "roots", ".empty");
    system(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
    return openFolder(path, this.#sys);
  }

  #whenFree(berth: string, folder: string): Promise<string | undefined> {
    const waiting = this.#untilFree(folder).finally(() => this.#waiting.delete(berth));
    this.#waiting.set(berth, waiting);
    return waiting;
  }

  /** A tenant's children may live a little longer than it; those that live on have to be ended by somebody. */
  async #untilFree(folder: string): Promise<string | undefined> {
    for (let waited = 0; waited < PATIENCE; waited += PAUSE) {
      try {
        await setTimeout(PAUSE, undefined, { signal: this.#stop.signal });
      } catch {
        return "the broker is stopping; ask the next one";
      }
      using upper = openFolder(join(folder, "upper"), this.#sys);
      if (!isInUse(upper, this.#sys)) return undefined;
    }
    return `what an earlier tenant wrote is still in use: a process of its has the root open, or as its working directory; end it`;
  }
}

/** One root while it is built. */
interface Plan {
  readonly berth: string;
  readonly folder: string;
  readonly request: RootRequest;
  readonly images: readonly ImageTree[];
  readonly range: Range | undefined;
  /** What the root keeps from being removed. */
  readonly holds: FdHandle[];
}

function attributes({ nosuid, nodev, readOnly }: RootRequest): number {
  return (nosuid ? MOUNT_ATTR_NOSUID : 0) | (nodev ? MOUNT_ATTR_NODEV : 0) | (readOnly ? MOUNT_ATTR_RDONLY : 0);
}
