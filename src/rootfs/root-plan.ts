/** What one root is to be made of, found out before anything is made. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { FdHandle } from "../fd.ts";
import { system } from "./durable.ts";
import { type ImageTree, labelOf } from "./image-source.ts";
import type { Range } from "./range.ts";
import type { RootRequest } from "./root-request.ts";

/** One root while it is built. */
export interface Plan {
  readonly berth: string;
  /** What the berth has on disk: its `upper`, `work` and `shifted`. */
  readonly folder: string;
  readonly request: RootRequest;
  readonly images: readonly ImageTree[];
  readonly range: Range | undefined;
  /** What the root keeps from being removed. */
  readonly holds: FdHandle[];
}

/** What a root is made of, as long as it is the same: also the folders themselves, which may have been exchanged. */
export function identityOf({ request, images, range, folder }: Plan): string {
  const upper = join(folder, "upper");
  const changes = request.readOnly || request.state === "volatile" ? [] : [upper];
  const folders = [...images.map(({ tree }) => tree), ...changes].map((path) => {
    const found = system(path, () => statSync(path, { bigint: true, throwIfNoEntry: false }));
    // The time of a change: somebody has put something into it, or given it another owner or mode.
    return found === undefined ? "" : `${found.dev}:${found.ino}${path === upper ? `:${found.ctimeNs}` : ""}`;
  });
  return JSON.stringify([request, images.map(labelOf), range, folders]);
}
