/**
 * Limits of a tmpfs. `size` counts only the contents of files. But each file, link and attribute takes memory of the
 * kernel, too. The limit of inodes counts these. Since Linux 6.6 it also counts attributes: 1 KiB of them as one inode.
 * No limit of the kernel counts access lists (docs/roots.md). Pure.
 */

/** Absent: the kernel's default, which is half of the memory for pages, and an inode for each of those pages. */
export interface TmpfsLimits {
  /** In bytes. */
  readonly size?: number | undefined;
  /** Files, links and folders. Default: one for each 4 KiB of `size`, and at least {@link MIN_INODES}. */
  readonly inodes?: number | undefined;
}

const BYTES_PER_INODE = 4096;
const MIN_INODES = 256;

/** The options of a tmpfs with these limits (tmpfs(5)). */
export function tmpfsOptions({ size, inodes }: TmpfsLimits): Readonly<Record<string, number>> {
  const count = inodes ?? (size === undefined ? undefined : Math.max(Math.ceil(size / BYTES_PER_INODE), MIN_INODES));
  return { ...(size !== undefined && { size }), ...(count !== undefined && { nr_inodes: count }) };
}
