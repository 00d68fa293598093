/** Short texts of a berth that more than one view shows. Pure. */
import type { BerthRow, Memory } from "../../src/api/shapes.ts";

const FULL = 0.92;

/** `Quake III Arena · q3dm17`; empty where nothing is known. */
export function gameLine(berth: Pick<BerthRow, "game" | "map">): string {
  return [berth.game, berth.map].filter(Boolean).join(" · ");
}

/** The version of the newer image, or its whole name where that is another image. Null: the image is current. */
export function newerVersion(berth: Pick<BerthRow, "image" | "outdated">): string | null {
  const newer = berth.outdated?.image ?? null;
  if (newer === null) return null;
  const [name, version] = newer.split("@");
  return version !== undefined && berth.image?.split("@")[0] === name ? version : newer;
}

/** Whether little of the memory it may use is left. */
export function isFull(memory: Memory): boolean {
  return memory.limit !== null && memory.used / memory.limit > FULL;
}
