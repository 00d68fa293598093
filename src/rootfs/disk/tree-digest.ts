/** One digest for a whole tree, and the first difference between two. */
import { createHash, type Hash } from "node:crypto";
import { BerthError } from "../../errors.ts";
import type { Native } from "../../native.ts";
import { type Pause, type TreeEntry, walkTree } from "./tree-walk.ts";

export interface TreeSummary {
  /** `sha256:` and 64 hexadecimal digits; of names, kinds, modes, owners, times, contents, hard links and attributes. */
  readonly digest: string;
  readonly entries: number;
  /** Bytes in regular files, one that has several names once. */
  readonly bytes: number;
}

/** Digests a tree. `onEntry` is called for each. */
export async function digestTree(root: string, sys: Native, pause: Pause, onEntry: () => void): Promise<TreeSummary> {
  const sum = new Sum();
  for await (const entry of walkTree(root, sys, pause)) {
    sum.add(entry);
    onEntry();
  }
  return sum.summary();
}

/**
 * Digests a copy beside its original, but for those files of it, by their paths, that will not stay. Throws IMPORT_FAILED,
 * naming the first file that is not the same and how.
 */
export async function compareTrees(
  original: string,
  copy: string,
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
      if (difference !== undefined) throw different(original, difference);
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
    return { path: first.path, what: "is there in one of the two only" };
  const keys = ["mode", "owner", "modified", "content", "size", "link", "attributes"] as const;
  const changed = keys.filter((key) => JSON.stringify(wanted[key]) !== JSON.stringify(got[key]));
  return changed.length === 0 ? undefined : { path: wanted.path, what: `differs in ${changed.join(", ")}` };
}

function different(original: string, { path, what }: Difference): BerthError {
  const name = path === "" ? "the folder itself" : Buffer.from(path, "latin1").toString();
  const why =
    process.geteuid?.() === 0
      ? "somebody changes it meanwhile, or the file system of the state folder cannot hold it"
      : "somebody changes it meanwhile, or it needs root: only root can give files other owners, devices and capabilities";
  return new BerthError("IMPORT_FAILED", `the copy of ${original} is not the same: ${name} ${what}; ${why}`);
}
