/** What roots need from images: find the tree of a reference, and protect it from removal. Types, and labels. */
import type { FdHandle } from "../../fd.ts";

/** The tree that a reference means now. The tree of a version never changes. */
export interface ImageTree {
  readonly name: string;
  /** Absent when the reference is a path. */
  readonly version?: string;
  /** Absolute path of the folder that becomes a layer. */
  readonly tree: string;
}

/** A tree that was looked at. */
export interface FoundTree extends ImageTree {
  /** A text that changes when the tree is replaced, or when its owner, mode or entries change. */
  readonly state: string;
}

export interface ImageSource {
  /** Finds the tree that `NAME`, `NAME@VERSION` or an absolute path means now. */
  resolve(reference: string): FoundTree | { readonly problem: string; readonly remedy: string };
  /** Protects a tree from `berth image rm` until the handle is closed. */
  hold(image: ImageTree): FdHandle;
}

/** `arena@2.1`, or the path. */
export function labelOf({ name, version }: ImageTree): string {
  return version === undefined ? name : `${name}@${version}`;
}
