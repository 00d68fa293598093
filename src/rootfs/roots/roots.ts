/**
 * Builds the roots of berths: images below, what tenants write above, ids of the berth's range in it. What can be done
 * at once is done at once, in the same time for any image; what takes long is waited for by whoever asked, and by
 * nobody else. What a berth's next lease will get is built when the last one's is gone, and stands ready until then. On
 * disk, below the state folder: `roots/BERTH/upper` and `work`, and `roots/BERTH/shifted/…`.
 */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { BerthError, isScarcity } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { type ImageSource, type ImageTree, labelOf } from "../images/image-source.ts";
import { closeUpper, openFolder, type Upper } from "../mount/overlay.ts";
import { UnmountWatch } from "../mount/unmount-watch.ts";
import { ownerOf, persistentUpper, volatileUpper } from "../mount/upper.ts";
import { isUpperInUse } from "../mount/upper-in-use.ts";
import type { Range } from "../ranges/range.ts";
import { Root, type RootFacts, type Strategy } from "./root.ts";
import { RootBuilder, type RootBuilderOptions } from "./root-builder.ts";
import { identityOf, type RootPlan, stateOf } from "./root-plan.ts";
import type { NotYet, RootRequest, Unbuilt } from "./root-request.ts";

export interface RootsOptions extends RootBuilderOptions {
  readonly images: ImageSource;
  /** Reserves a range, for ever (ranges.ts). */
  readonly ranges: { reserve(owner: string, wanted?: number): Range };
}

/** How long to wait for processes that a tenant has left behind to end, and how often to look, in milliseconds. */
const PATIENCE = 5000;
const PAUSE = 50;

export class Roots {
  readonly #options: RootsOptions;
  readonly #sys: Native;
  readonly #builder: RootBuilder;
  readonly #unmounts: UnmountWatch;
  /** Of persistent roots: where {@link UnmountWatch} has them. */
  readonly #watches = new WeakMap<Root, number>();
  /** By berth: the number of its last persistent root among them. */
  readonly #last = new Map<string, number>();
  /** By berth: its last root being unmounted, its upper folder being used by somebody. */
  readonly #closing = new Map<string, Promise<undefined>>();
  readonly #waiting = new Map<string, Promise<string | undefined>>();
  /** By berth: what its next lease is going to ask for, until it stands ready. */
  readonly #next = new Map<string, RootRequest>();
  /** By berth: what its next lease gets, if it still asks for the same by then. Keeps no image from being removed. */
  readonly #ready = new Map<string, Ready>();
  /** Berths whose upper folder nobody uses. Only we make overlays of them, so they are free until we do. */
  readonly #free = new Set<string>();
  readonly #stop = new AbortController();

  constructor(options: RootsOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.#builder = new RootBuilder(options);
    this.#unmounts = new UnmountWatch(options.sys);
  }

  /** The root of a berth as its images are now. Throws only for what the broker itself is short of. */
  build(berth: string, request: RootRequest): Root | NotYet | Unbuilt {
    const before = this.#closing.get(berth) ?? this.#waiting.get(berth);
    if (before !== undefined) return { until: before };
    try {
      const plan = this.#plan(berth, request);
      return "problem" in plan ? plan : this.#build(plan);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      if (!isScarcity(error)) return { problem: error.message };
      // What nobody has asked for yet is the first to go.
      for (const other of [...this.#ready.keys()]) this.forget(other);
      throw error;
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

  /**
   * Lets go of a berth's root. The next one is built when nothing of this one is left: at once, of what the next lease is
   * going to ask for as `next` says, else when it is asked for.
   */
  release(berth: string, root: Root, next?: RootRequest): void {
    // Where it was metacopy for want of anything better it is so again.
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

  /** Lets go of what stands ready for a berth, or is about to. */
  forget(berth: string): void {
    this.#next.delete(berth);
    const ready = this.#ready.get(berth);
    if (ready === undefined) return;
    this.#ready.delete(berth);
    this.release(berth, ready.root);
  }

  /** Stops what is under way, and lets go of what stands ready. Roots that were built for somebody are theirs. */
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

  #plan(berth: string, request: RootRequest): RootPlan | Unbuilt {
    const images: ImageTree[] = [];
    for (const reference of request.images) {
      const found = this.#options.images.resolve(reference);
      if ("problem" in found) return { problem: `${found.problem}; ${found.remedy}` };
      images.push(found);
    }
    const range = request.shift === "none" ? undefined : this.#options.ranges.reserve(berth, request.range);
    const folder = join(this.#options.state, "roots", berth);
    return { berth, folder, request, images, trees: stateOf(images.map(({ tree }) => tree)), range, holds: [] };
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

  /** Has the next root stand ready. Why it cannot is for whoever asks for it to hear. */
  #prepare(berth: string): void {
    const request = this.#next.get(berth);
    this.#next.delete(berth);
    if (request === undefined || request.shift === "metacopy") return;
    // Whoever is still there has its second to end from when somebody asks.
    if (!request.readOnly && request.state === "persistent" && !this.#free.has(berth)) return;
    let root: Root | undefined;
    try {
      const plan = this.#plan(berth, request);
      if ("problem" in plan) return;
      const built = this.#build(plan);
      if (!(built instanceof Root)) {
        built.until.catch(() => undefined);
        return;
      }
      root = built;
      // What metacopy has made may be removed again unless it is kept, and its images with it.
      if (root.facts.strategy === "metacopy") return;
      const of = identityOf(plan);
      root.keep([]);
      this.#ready.set(berth, { root, of });
      root = undefined;
    } catch {
      // Then it is built when it is asked for, or refused with the reason.
    } finally {
      if (root !== undefined) this.release(berth, root);
    }
  }

  /** Where this root's changes go; a promise while somebody else still writes there. */
  #upper({ berth, folder, request, images, range }: RootPlan): Upper | undefined | Promise<string | undefined> {
    if (request.readOnly) return undefined;
    const owner = ownerOf(images.at(-1)?.tree ?? "/", range);
    if (request.state === "volatile") return volatileUpper(request.size, owner, this.#sys);
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
   * Whether anybody uses an upper folder. Of what was ours we know; of others the kernel does. (Of ours it need not: an
   * overlay that is made in the instant in which the last one ends is not marked.)
   */
  #isInUse(berth: string, upper: FdHandle): boolean {
    const last = this.#last.get(berth);
    return (last !== undefined && !this.#unmounts.isUnmounted(last)) || isUpperInUse(upper, this.#sys);
  }

  #whenFree(berth: string, folder: string): Promise<string | undefined> {
    const waiting = this.#untilFree(berth, folder)
      .catch((error: unknown) => {
        if (error instanceof BerthError) return undefined; // whoever builds the next one hears it, if it is still so
        throw error;
      })
      .finally(() => this.#waiting.delete(berth));
    this.#waiting.set(berth, waiting);
    return waiting;
  }

  /** A tenant's children may live a little longer than it; those that live on have to be ended by somebody. */
  async #untilFree(berth: string, folder: string): Promise<string | undefined> {
    for (let waited = 0; waited < PATIENCE; waited += PAUSE) {
      try {
        await setTimeout(PAUSE, undefined, { signal: this.#stop.signal });
      } catch {
        return "the broker is stopping; ask the next one";
      }
      using upper = openFolder(join(folder, "upper"), this.#sys);
      if (!this.#isInUse(berth, upper)) return undefined;
    }
    return `what an earlier tenant wrote is still in use: a process of its has the root open, or as its working directory; end it`;
  }
}

/** A root that was built before anybody asked for it, and of what. */
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
