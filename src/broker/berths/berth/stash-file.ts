/**
 * Decides from facts whether a file or FIFO may be stashed. An open file keeps its mount alive: one of a berth's root
 * would keep that root busy, and no later tenant would get one (hazard 66). A file of a program or of the network may
 * not answer. Pure: who asks gets the facts by calls that cannot wait.
 */

export interface FileFacts {
  /** Major and minor number of its file system, as `8:1`. */
  readonly device: string;
  /** The mount it was opened on, if known. */
  readonly mountId?: number | undefined;
  /** Whether it is a pipe without a name. */
  readonly isPipe: boolean;
  /** Whether it is in memory: F_GET_SEALS of fcntl(2) works, as for a memfd, whose file system is mounted nowhere. */
  readonly isMemory: boolean;
}

/** One line of /proc/self/mountinfo. */
export interface Mount {
  readonly id: number;
  readonly device: string;
  readonly place: string;
  readonly type: string;
}

/** File systems on a disk or in memory. */
const LOCAL: ReadonlySet<string> = new Set(
  "bcachefs btrfs erofs ext2 ext3 ext4 f2fs jfs overlay ramfs squashfs tmpfs xfs zfs".split(" "),
);

/** Reads the lines of mountinfo (proc_pid_mountinfo(5)). */
export function parseMounts(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    const [id, , device, , place] = line.split(" ");
    const type = / - (\S+)/.exec(line)?.[1];
    return device === undefined || place === undefined || type === undefined
      ? []
      : [{ id: Number(id), device, place, type }];
  });
}

/** A sentence about why the file cannot be stashed. Undefined when it can. */
export function whyNotKept(
  { device, mountId, isPipe, isMemory }: FileFacts,
  mounts: readonly Mount[],
): string | undefined {
  if (isPipe || isMemory) return undefined;
  // Btrfs gives each subvolume a device of its own, so the mount is asked first.
  const mount = mounts.find(({ id }) => id === mountId) ?? mounts.find((other) => other.device === device);
  if (mount === undefined) return device.startsWith("0:") ? ELSEWHERE : undefined;
  if (!LOCAL.has(mount.type)) return `a file of ${mount.type} can keep what it belongs to alive; ${COPY}`;
  const isHosts = mounts.some(({ place, ...root }) => place === "/" && root.device === mount.device);
  return mount.type === "overlay" && !isHosts ? ELSEWHERE : undefined;
}

const COPY = "copy what is in it to a memfd";
const ELSEWHERE = `it is a file of a berth's root, or of a file system that is not mounted on the host, and would keep that busy; ${COPY}`;
