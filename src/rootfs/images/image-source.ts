/** What roots need of images: where a reference leads now, and how to keep that from being removed. */
import type { FdHandle } from "../../fd.ts";

/** An image as it is now. The tree of a version never changes. */
export interface ImageTree {
  readonly name: string;
  /** Absent for a folder that was named by its path. */
  readonly version?: string;
  /** Absolute path of the folder that becomes a layer. */
  readonly tree: string;
}

export interface ImageSource {
  /** What `NAME`, `NAME@VERSION` or an absolute path stands for at the moment of asking. */
  resolve(reference: string): ImageTree | { readonly problem: string; readonly remedy: string };
  /** Keeps a tree from being removed until the handle is closed. */
  hold(image: ImageTree): FdHandle;
}

/** `arena@2.1`, or the path. */
export function labelOf({ name, version }: ImageTree): string {
  return version === undefined ? name : `${name}@${version}`;
}
