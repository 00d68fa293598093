/** What an archive of a berth says of itself, in its first member. It reads and writes no file. */
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import type { Range } from "../../rootfs/ranges/range.ts";

/** The first member of an archive. */
export const ABOUT = "berth-backup.json";

/** How the files were kept still: the server was stopped, it was frozen while they were cloned, or not at all. */
export type Taken = "stopped" | "snapshot" | "live";

/** What an archive says of itself. */
export interface About {
  readonly berth: string;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly taken: Taken;
  /** The ids that the files belong to; null if the berth has none of its own. */
  readonly range: { readonly base: number; readonly count: number } | null;
  readonly images: readonly string[];
}

/** Of an archive that is made now. `images` is undefined if no broker runs. */
export function aboutNow(
  berth: string,
  taken: Taken,
  range: Range | undefined,
  images: readonly string[] | undefined,
): About {
  return {
    berth,
    time: new Date().toISOString(),
    taken,
    range: range === undefined ? null : { base: range.base, count: range.count },
    images: images ?? [],
  };
}

/** Throws SYSTEM_ERROR. `path` is for the message. */
export function parseAbout(path: string, text: string): About {
  try {
    const found = JSON.parse(text) as Partial<About> | null;
    const range = found?.range;
    const isRange = range === null || (Number.isSafeInteger(range?.base) && Number.isSafeInteger(range?.count));
    if (typeof found?.berth === "string" && isRange) return found as About;
  } catch {
    // As below.
  }
  throw new BerthError("SYSTEM_ERROR", `${ABOUT} in ${printable(path)} is damaged, so the archive may be, too`);
}
