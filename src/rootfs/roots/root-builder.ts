/** Makes one mount of images, changes and ids, by the strategy that was asked for or the one that can. It keeps no roots. */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { SysError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, type Native } from "../../native.ts";
import { closeLater } from "../disk/close-later.ts";
import { system } from "../disk/durable.ts";
import { idmapTree, rangeNamespace } from "../mount/idmap.ts";
import {
  closeUpper,
  METACOPY,
  mountOverlay,
  type OverlayOptions,
  openFolder,
  PLAIN,
  type Upper,
} from "../mount/overlay.ts";
import { MetacopyLayers } from "./metacopy-layers.ts";
import type { Strategy } from "./root.ts";
import type { RootPlan } from "./root-plan.ts";
import type { NotYet, RootRequest } from "./root-request.ts";

/** What a kernel or a file system without idmapped layers says. */
const NOT_MAPPABLE: ReadonlySet<string> = new Set(["EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM"]);

/** A detached mount, and how the ids in it came about. */
export interface Mounted {
  readonly mount: FdHandle;
  readonly strategy: Strategy;
}

export interface RootBuilderOptions {
  /** The state folder. */
  readonly state: string;
  /** Told once for each file system that cannot show its files with other ids: `auto` takes metacopy there. */
  readonly onFallback: (reason: string) => void;
  readonly sys: Native;
}

export class RootBuilder {
  readonly #options: RootBuilderOptions;
  readonly #sys: Native;
  readonly #metacopy: MetacopyLayers;
  /** File systems that cannot show their files with other ids, by their devices. */
  readonly #unmappable = new Set<string>();

  constructor(options: RootBuilderOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.#metacopy = new MetacopyLayers(options.sys);
  }

  /** Stops what is under way. */
  close(): void {
    this.#metacopy.close();
  }

  /** Mounts it: by which strategy, and where. Closes `upper`. Throws SYSTEM_ERROR. */
  mount(plan: RootPlan, upper: Upper | undefined): Mounted | NotYet {
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

  #mountBy(strategy: Strategy, plan: RootPlan, upper: Upper | undefined): Mounted | NotYet {
    const { request } = plan;
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
      return { mount, strategy };
    } finally {
      for (const lower of lowers) void closeLater(lower);
    }
  }

  /** The images as layers, from the top down. */
  #lowers(strategy: Strategy, { folder, images, range, holds }: RootPlan): FdHandle[] | Promise<string | undefined> {
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
    const shifted = this.#metacopy.layer(join(folder, "shifted"), images, range);
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
}

function attributes({ nosuid, nodev, readOnly }: RootRequest): number {
  return (nosuid ? MOUNT_ATTR_NOSUID : 0) | (nodev ? MOUNT_ATTR_NODEV : 0) | (readOnly ? MOUNT_ATTR_RDONLY : 0);
}
