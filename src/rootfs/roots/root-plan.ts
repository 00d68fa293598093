/** The plan of one root: its images, range and folders. It is complete before anything is mounted. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { FdHandle } from "../../fd.ts";
import { system } from "../disk/durable.ts";
import { type ImageTree, labelOf } from "../images/image-source.ts";
import type { Range } from "../ranges/range.ts";
import type { RootRequest } from "./root-request.ts";

/** One root that is being built. */
export interface RootPlan {
  readonly berth: string;
  /** The berth's folder on disk, with `upper`, `work` and `shifted`. */
  readonly folder: string;
  readonly request: RootRequest;
  readonly images: readonly ImageTree[];
  /** {@link stateOf} of the images' trees. */
  readonly trees: string;
  readonly range: Range | undefined;
  /** Locks that protect the root's images and layers from removal. */
  readonly holds: FdHandle[];
}

/** A text that changes when a folder is replaced, or when its owner, mode or entries change. */
export function stateOf(paths: readonly string[]): string {
  return paths
    .map((path) => system(path, () => statSync(path, { bigint: true, throwIfNoEntry: false })))
    .map((found) => (found === undefined ? "" : `${found.dev}:${found.ino}:${found.ctimeNs}`))
    .join();
}

/** A text that is equal for two plans when a root built from one also fits the other. */
export function identityOf({ request, images, trees, range, folder }: RootPlan): string {
  const isOnDisk = !request.readOnly && request.state === "persistent";
  const changes = isOnDisk ? stateOf([join(folder, "upper")]) : "";
  return JSON.stringify([request, images.map(labelOf), trees, range, changes]);
}
