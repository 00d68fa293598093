/** Network namespaces, by the inodes that name them in /proc (namespaces(7)). */
import { readlinkSync } from "node:fs";

/**
 * The network namespace of a process: `net:[4026531840]` is 4026531840. Undefined where the kernel does not tell. To
 * read the link takes no lock that the process could hold (proc_ns_readlink, fs/proc/namespaces.c).
 */
export function networkOf(pid: number | "self"): number | undefined {
  try {
    const inode = /^net:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[1];
    return inode === undefined ? undefined : Number(inode);
  } catch {
    return undefined; // it has exited, or may not be looked at
  }
}
