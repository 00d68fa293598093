/** A path to an open file, for calls that take no descriptor. */
import type { FdHandle } from "../../fd.ts";

/**
 * The path leads to the very file that is open, whatever has happened to its names (proc(5)). A link that is open leads
 * to itself. Only this process can use the path.
 */
export function pathOf(handle: FdHandle): string {
  return `/proc/self/fd/${handle.fd}`;
}
