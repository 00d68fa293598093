/**
 * Builds the roots of berths: an overlay of the images and the upper folder, with the ids of the berth's range. The
 * time does not depend on the image's size. When a step is slow, build() returns {@link NotYet}, and only the client
 * that asked waits. After a lease ends, the root for the berth's next lease is built ahead. Files on disk, in the
 * state folder: `roots/BERTH/upper`, `roots/BERTH/work` and `roots/BERTH/shifted/…`.
 */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { BerthError, isScarcity } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { type FoundTree, type ImageSource, labelOf } from "../images/image-source.ts";
import { closeUpper, openFolder, type Upper } from "../mount/overlay.ts";
import { UnmountWatch } from "../mount/unmount-watch.ts";
import { ownerOf, persistentUpper, volatileUpper } from "../mount/upper.ts";
import { isUpperInUse } from "../mount/upper-in-use.ts";
import type { Range } from "../ranges/range.ts";
import { Root, type RootFacts, type Strategy } from "./root.ts";
import { RootBuilder, type RootBuilderOptions } from "./root-builder.ts";
import { identityOf, type RootPlan } from "./root-plan.ts";
import type { NotYet, RootRequest, Unbuilt } from "./root-request.ts";

export interface RootsOptions extends RootBuilderOptions {
  readonly images: ImageSource;
  /** Reserves a range permanently (ranges.ts). */
  readonly ranges: { reserve(owner: string, wanted?: number): Range | Promise<undefined> };
  /** Half the time is over, and the root that the berth had is still in use. */
  readonly onInUse?: (berth: string) => void;
}

/** How long to wait until processes that a tenant left behind end, and how often to check. */
const UPPER_FREE_TIMEOUT_MS = 5000;
const POLL_INTERVAL_MS = 50;

export class Roots {
  readonly #options: RootsOptions;
  readonly #sys: Native;
  readonly #builder: RootBuilder;
  readonly #unmounts: UnmountWatch;
  /** The watch in {@link UnmountWatch} of each persistent root. */
  readonly #watches = new WeakMap<Root, number>();
  /** By berth: the watch of its last persistent root. */
  readonly #last = new Map<string, number>();
  /** By berth: resolves when its last root is closed. */
  readonly #closing = new Map<string, Promise<undefined>>();
  /** By berth: resolves when no process uses its upper folder. */
  readonly #waiting = new Map<string, Promise<string | undefined>>();
  /** By berth: the expected request of its next lease, until the root for it is built. */
  readonly #next = new Map<string, RootRequest>();
  /** By berth: the root built ahead for its next lease, if the request is still the same. It locks no image. */
  readonly #ready = new Map<string, Ready>();
  /** Berths whose upper folder is free. Only this broker makes overlays of it, so it stays free until then. */
  readonly #free = new Set<string>();
  readonly #stop = new AbortController();

  constructor(options: RootsOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.#builder = new RootBuilder(options);
    this.#unmounts = new UnmountWatch(options.sys);
  }

  /** Builds the root of a berth from its present images. Throws only when descriptors, memory or threads run out. */
  build(berth: string, request: RootRequest): Root | NotYet | Unbuilt {
    const before = this.#closing.get(berth) ?? this.#waiting.get(berth);
    if (before !== undefined) return { until: before };
    try {
      const plan = this.#plan(berth, request);
      return "berth" in plan ? this.#build(plan) : plan;
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      if (!isScarcity(error)) return { problem: error.message };
      // Close the roots that were built ahead: nobody has asked for them yet.
      for (const other of [...this.#ready.keys()]) this.forget(other);
      throw error;
    }
  }

  /** Adopts a root that another broker built. Takes ownership of the mount. */
  adopt(mount: FdHandle, facts: RootFacts): Root {
    const holds: FdHandle[] = [];
    for (const label of facts.images) {
      const image = this.#options.images.resolve(label);
      // An image that was removed while no broker ran cannot be locked.
      if (!("problem" in image)) holds.push(this.#options.images.hold(image));
    }
    return this.#root(mount, facts, holds);
  }

  /**
   * Closes a berth's root. When it is closed, the root for the expected request `next` is built ahead. Without `next`,
   * the next root is built when a client asks for it.
   */
  release(berth: string, root: Root, next?: RootRequest): void {
    // A root by metacopy is not built ahead.
    if (next?.ready && root.facts.strategy !== "metacopy") this.#next.set(berth, next);
    const watch = this.#watches.get(root);
    if (watch !== undefined) this.#last.set(berth, watch);
    const closing = root.close().then(() => {
      if (watch !== undefined && this.#unmounts.isUnmounted(watch)) this.#free.add(berth);
      if (this.#closing.get(berth) !== closing) return undefined;
      this.#closing.delete(berth);
      this.#prepare(berth);
      return undefined;
    });
    this.#closing.set(berth, closing);
  }

  /** Closes the root that was built ahead for a berth, and builds none ahead any more. */
  forget(berth: string): void {
    this.#next.delete(berth);
    const ready = this.#ready.get(berth);
    if (ready === undefined) return;
    this.#ready.delete(berth);
    this.release(berth, ready.root);
  }

  /** Stops building, and closes the roots that were built ahead. The owners of the others close them. */
  close(): void {
    this.#stop.abort();
    for (const { root } of this.#ready.values()) void root.close();
    this.#ready.clear();
    this.#next.clear();
    this.#builder.close();
    this.#unmounts.close();
  }

  #root(mount: FdHandle, facts: RootFacts, holds: readonly FdHandle[]): Root {
    const root = new Root(mount, facts, holds, this.#sys);
    const watch = facts.state === "persistent" ? this.#unmounts.watch(mount) : undefined;
    if (watch !== undefined) this.#watches.set(root, watch);
    return root;
  }

  #plan(berth: string, request: RootRequest): RootPlan | NotYet | Unbuilt {
    const images: FoundTree[] = [];
    for (const reference of request.images) {
      const found = this.#options.images.resolve(reference);
      if ("problem" in found) return { problem: `${found.problem}; ${found.remedy}` };
      images.push(found);
    }
    const range = request.shift === "none" ? undefined : this.#options.ranges.reserve(berth, request.range);
    if (range instanceof Promise) return { until: range };
    const folder = join(this.#options.state, "roots", berth);
    return { berth, folder, request, images, range, holds: [] };
  }

  #build(plan: RootPlan): Root | NotYet {
    const { berth } = plan;
    let root: Root | undefined;
    try {
      for (const image of plan.images) plan.holds.push(this.#options.images.hold(image));
      const ready = this.#ready.get(berth);
      if (ready !== undefined && ready.of === identityOf(plan)) {
        root = ready.root;
        this.#ready.delete(berth);
        root.keep(plan.holds);
        return root;
      }
      this.forget(berth);
      const until = this.#closing.get(berth);
      if (until !== undefined) return { until };
      const upper = this.#upper(plan);
      if (upper instanceof Promise) return { until: upper };
      const made = this.#builder.mount(plan, upper);
      if ("until" in made) return made;
      root = this.#root(made.mount, factsOf(plan, made.strategy), plan.holds);
      return root;
    } finally {
      if (root === undefined) closeAll(plan.holds);
    }
  }

  /** Builds the next root ahead. It ignores failures: the client that asks for the root gets the reason. */
  #prepare(berth: string): void {
    const request = this.#next.get(berth);
    this.#next.delete(berth);
    if (request === undefined || request.shift === "metacopy") return;
    // The upper folder is still in use. When a client asks, build() waits until the processes there end.
    if (!request.readOnly && request.state === "persistent" && !this.#free.has(berth)) return;
    let root: Root | undefined;
    try {
      const plan = this.#plan(berth, request);
      if (!("berth" in plan)) return;
      const built = this.#build(plan);
      if (!(built instanceof Root)) {
        built.until.catch(() => undefined);
        return;
      }
      root = built;
      // A root by metacopy needs its locks, because its layer may be removed. A root built ahead holds none.
      if (root.facts.strategy === "metacopy") return;
      const of = identityOf(plan);
      root.keep([]);
      this.#ready.set(berth, { root, of });
      root = undefined;
    } catch {
      // The root is built when a client asks for it, or refused with the reason.
    } finally {
      if (root !== undefined) this.release(berth, root);
    }
  }

  /** The folders for this root's changes. A promise while another overlay still uses them. */
  #upper({ berth, folder, request, images, range }: RootPlan): Upper | undefined | Promise<string | undefined> {
    if (request.readOnly) return undefined;
    const owner = ownerOf(images.at(-1)?.tree ?? "/", range);
    if (request.state === "volatile") return volatileUpper(request, owner, this.#sys);
    const upper = persistentUpper(folder, owner, range, this.#sys);
    let isFree = this.#free.delete(berth);
    try {
      isFree ||= !this.#isInUse(berth, upper.upper);
      return isFree ? upper : this.#whenFree(berth, folder);
    } finally {
      if (!isFree) closeUpper(upper);
    }
  }

  /**
   * Whether an overlay uses the upper folder. The unmount watch knows about this broker's overlays. The kernel tells
   * about others. The kernel alone is not enough: it does not mark a folder as in use when an overlay is made at the
   * moment when the previous one ends.
   */
  #isInUse(berth: string, upper: FdHandle): boolean {
    const last = this.#last.get(berth);
    return (last !== undefined && !this.#unmounts.isUnmounted(last)) || isUpperInUse(upper, this.#sys);
  }

  #whenFree(berth: string, folder: string): Promise<string | undefined> {
    const waiting = this.#untilFree(berth, folder)
      .catch((error: unknown) => {
        if (error instanceof BerthError) return undefined; // the next build() reports it if it still fails
        throw error;
      })
      .finally(() => this.#waiting.delete(berth));
    this.#waiting.set(berth, waiting);
    return waiting;
  }

  /** Waits until the upper folder is free. A tenant's children may end a little later than the tenant. */
  async #untilFree(berth: string, folder: string): Promise<string | undefined> {
    for (let waited = 0; waited < UPPER_FREE_TIMEOUT_MS; waited += POLL_INTERVAL_MS) {
      try {
        await setTimeout(POLL_INTERVAL_MS, undefined, { signal: this.#stop.signal });
      } catch {
        return "the broker is stopping; try again when the next one runs";
      }
      if (waited === UPPER_FREE_TIMEOUT_MS / 2) this.#options.onInUse?.(berth);
      using upper = openFolder(join(folder, "upper"), this.#sys);
      if (!this.#isInUse(berth, upper)) return undefined;
    }
    return `a process of an earlier tenant still uses the root: it has a file in it open, or its working directory there; end that process`;
  }
}

/** A root that was built ahead. `of` is the identity of its plan. */
interface Ready {
  readonly root: Root;
  readonly of: string;
}

function factsOf({ request, images, range }: RootPlan, strategy: Strategy): RootFacts {
  return {
    strategy,
    images: images.map(labelOf),
    state: request.readOnly ? "readonly" : request.state,
    ...(range !== undefined && { range }),
  };
}
