/** What one root is to be made of, found out before anything is made. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { FdHandle } from "../../fd.ts";
import { system } from "../disk/durable.ts";
import { type ImageTree, labelOf } from "../images/image-source.ts";
import type { Range } from "../ranges/range.ts";
import type { RootRequest } from "./root-request.ts";

/** One root while it is built. */
export interface RootPlan {
  readonly berth: string;
  /** What the berth has on disk: its `upper`, `work` and `shifted`. */
  readonly folder: string;
  readonly request: RootRequest;
  readonly images: readonly ImageTree[];
  /** {@link stateOf} their trees. */
  readonly trees: string;
  readonly range: Range | undefined;
  /** What the root keeps from being removed. */
  readonly holds: FdHandle[];
}

/** Which folders these are, and in which state: another, or one that has been given another owner, mode or entry, differs. */
export function stateOf(paths: readonly string[]): string {
  return paths
    .map((path) => system(path, () => statSync(path, { bigint: true, throwIfNoEntry: false })))
    .map((found) => (found === undefined ? "" : `${found.dev}:${found.ino}:${found.ctimeNs}`))
    .join();
}

/** What a root is made of; as long as it is the same, what was built of the one is good for the other. */
export function identityOf({ request, images, trees, range, folder }: RootPlan): string {
  const isOnDisk = !request.readOnly && request.state === "persistent";
  const changes = isOnDisk ? stateOf([join(folder, "upper")]) : "";
  return JSON.stringify([request, images.map(labelOf), trees, range, changes]);
}
