/** Says what was wrong with a berth's socket and was set right, in the log and to watchers. */
import type { Log } from "../../../log.ts";
import type { Berth } from "../berth/berth.ts";
import type { BerthEvents } from "../berth/berth-events.ts";

export function tellRepairs(
  berth: Berth,
  socket: string,
  sentences: readonly string[],
  { log, events }: { readonly log: Log; readonly events: BerthEvents },
): void {
  for (const sentence of sentences) {
    log("warning", `berth ${berth.name}: socket ${socket} ${sentence}`, {
      event: "repaired",
      berth: berth.name,
      socket,
    });
    berth.generation++;
    events.change("repaired", berth);
  }
}
