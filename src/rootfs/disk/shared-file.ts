/** Finds hard links that lead out of a tree. It changes no file. */
import { constants } from "node:fs";
import type { Native } from "../../native.ts";
import { filesOf, kindOf, type OpenTree } from "./open-tree.ts";
import type { Pause } from "./pause.ts";

/** A file that has another name outside of the tree: what happens to it there happens here. Relative to the tree. */
export async function sharedFile(tree: OpenTree, sys: Native, pause: Pause): Promise<string | undefined> {
  const missing = new Map<bigint, { readonly path: string; names: bigint }>();
  for await (const { path, stat } of filesOf(tree, sys, pause)) {
    if (kindOf(stat) === constants.S_IFDIR || stat.nlink === 1n) continue;
    const known = missing.get(stat.ino) ?? { path: path.toString("latin1"), names: stat.nlink };
    known.names -= 1n;
    if (known.names === 0n) missing.delete(stat.ino);
    else missing.set(stat.ino, known);
  }
  const [first] = missing.values();
  return first?.path;
}
