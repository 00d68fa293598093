/** The plan of one root: its images, range and folders. It is complete before anything is mounted. */
import { join } from "node:path";
import type { FdHandle } from "../../fd.ts";
import { folderState } from "../disk/folder-state.ts";
import { type FoundTree, labelOf } from "../images/image-source.ts";
import type { Range } from "../ranges/range.ts";
import type { RootRequest } from "./root-request.ts";

/** One root that is being built. */
export interface RootPlan {
  readonly berth: string;
  /** The berth's folder on disk, with `upper`, `work` and `shifted`. */
  readonly folder: string;
  readonly request: RootRequest;
  readonly images: readonly FoundTree[];
  readonly range: Range | undefined;
  /** Locks that protect the root's images and layers from removal. */
  readonly holds: FdHandle[];
}

/** A text that is equal for two plans when a root built from one also fits the other. */
export function identityOf({ request, images, range, folder }: RootPlan): string {
  const isOnDisk = !request.readOnly && request.state === "persistent";
  const changes = isOnDisk ? folderState(join(folder, "upper")) : undefined;
  const trees = images.map(({ state }) => state);
  return JSON.stringify([request, images.map(labelOf), trees, range, changes]);
}
