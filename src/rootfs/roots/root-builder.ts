/** Mounts one root from its images, upper folder and ids, by idmap, metacopy or none. It stores no roots. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { SysError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { makeFolders } from "../../make-folders.ts";
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

/** The errors of a kernel or a file system without idmapped layers. */
const NOT_MAPPABLE: ReadonlySet<string> = new Set(["EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM"]);

/** A detached mount, and the strategy that gave its files their owners. */
export interface Mounted {
  readonly mount: FdHandle;
  readonly strategy: Strategy;
}

export interface RootBuilderOptions {
  /** The state folder. */
  readonly state: string;
  /** Called once for each file system without idmapped mounts. `auto` uses metacopy there. */
  readonly onFallback: (reason: string) => void;
  readonly sys: Native;
}

export class RootBuilder {
  readonly #options: RootBuilderOptions;
  readonly #sys: Native;
  readonly #metacopy: MetacopyLayers;
  /** Device numbers of file systems without idmapped mounts. */
  readonly #unmappable = new Set<string>();

  constructor(options: RootBuilderOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.#metacopy = new MetacopyLayers(options.sys);
  }

  /** Stops a running metacopy shift. */
  close(): void {
    this.#metacopy.close();
  }

  /** Mounts the planned root. Closes `upper`. Throws SYSTEM_ERROR. */
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
      // An overlay needs two layers. A plain copy of the image's mount is no choice: a tenant could make it writable.
      if (upper === undefined && lowers.length === 1) lowers.push(this.#emptyFolder());
      const options: OverlayOptions = {
        ...(strategy === "metacopy" ? METACOPY : PLAIN),
        // volatile: files in memory need no flush to disk, neither at fsync(2) nor at unmount.
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
    // A berth's name never starts with a dot.
    const path = join(this.#options.state, "roots", ".empty");
    system(path, () => makeFolders(path, 0o700));
    return openFolder(path, this.#sys);
  }
}

function attributes({ nosuid, nodev, readOnly }: RootRequest): number {
  return (nosuid ? MOUNT_ATTR_NOSUID : 0) | (nodev ? MOUNT_ATTR_NODEV : 0) | (readOnly ? MOUNT_ATTR_RDONLY : 0);
}
