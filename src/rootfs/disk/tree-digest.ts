/** Computes one digest for a whole tree, and finds the first difference between two trees. */
import { createHash, type Hash } from "node:crypto";
import { BerthError } from "../../errors.ts";
import type { Native } from "../../native.ts";
import type { OpenTree } from "./open-tree.ts";
import type { Pause } from "./pause.ts";
import { type TreeEntry, walkTree } from "./tree-walk.ts";

export interface TreeSummary {
  /**
   * `sha256:` and 64 hexadecimal digits. It covers names, kinds, modes, owners, times, contents, hard links and
   * extended attributes.
   */
  readonly digest: string;
  readonly entries: number;
  /** Bytes in regular files. A file with several names counts once. */
  readonly bytes: number;
}

/** Digests a tree. Calls `onEntry` for each entry. */
export async function digestTree(tree: OpenTree, sys: Native, pause: Pause, onEntry: () => void): Promise<TreeSummary> {
  const sum = new Sum();
  for await (const entry of walkTree(tree, sys, pause)) {
    sum.add(entry);
    onEntry();
  }
  return sum.summary();
}

/**
 * Compares a copy with its original, and digests the copy without the paths in `without`. Throws IMPORT_FAILED, which
 * names the first file that differs and how.
 */
export async function compareTrees(
  original: OpenTree,
  copy: OpenTree,
  without: ReadonlySet<string>,
  sys: Native,
  pause: Pause,
  onEntry: () => void,
): Promise<TreeSummary> {
  const sum = new Sum();
  const [left, right] = [walkTree(original, sys, pause), walkTree(copy, sys, pause)];
  try {
    for (;;) {
      const [{ value: wanted }, { value: got }] = [await left.next(), await right.next()];
      if (wanted === undefined && got === undefined) return sum.summary();
      const difference = differenceOf(wanted, got);
      if (difference !== undefined) throw different(original.path, difference);
      if (got === undefined) continue;
      if (!without.has(got.path)) sum.add(got);
      onEntry();
    }
  } finally {
    await left.return(undefined);
    await right.return(undefined);
  }
}

class Sum {
  readonly #hash: Hash = createHash("sha256");
  #entries = 0;
  #bytes = 0;

  add(entry: TreeEntry): void {
    this.#hash.update(`${JSON.stringify(entry)}\n`);
    this.#entries += 1;
    this.#bytes += entry.size ?? 0;
  }

  summary(): TreeSummary {
    return { digest: `sha256:${this.#hash.digest("hex")}`, entries: this.#entries, bytes: this.#bytes };
  }
}

interface Difference {
  readonly path: string;
  readonly what: string;
}

function differenceOf(wanted: TreeEntry | undefined, got: TreeEntry | undefined): Difference | undefined {
  const first = wanted ?? got;
  if (first === undefined) return undefined;
  if (wanted === undefined || got === undefined || wanted.path !== got.path)
    return { path: first.path, what: "exists in only one of the two" };
  const keys = ["mode", "owner", "modified", "content", "size", "link", "attributes"] as const;
  const changed = keys.filter((key) => JSON.stringify(wanted[key]) !== JSON.stringify(got[key]));
  return changed.length === 0 ? undefined : { path: wanted.path, what: `differs in ${changed.join(", ")}` };
}

function different(original: string, { path, what }: Difference): BerthError {
  const name = path === "" ? "the folder itself" : Buffer.from(path, "latin1").toString();
  const why =
    process.geteuid?.() === 0
      ? "the folder changed during the import, or the state folder's file system cannot store this; stop what writes there, and import again"
      : "the folder changed during the import, or the import needs root (other owners, devices, capabilities): run it as root";
  return new BerthError("IMPORT_FAILED", `the copy of ${original} differs from it: ${name} ${what}; ${why}`);
}
