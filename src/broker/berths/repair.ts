/** Restores the configured state of a berth's sockets after its tenant has gone, and logs what was wrong. */
import type { Log } from "../../log.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { Berth } from "./berth.ts";
import type { BerthEvents } from "./berth-events.ts";

export function repairSockets(
  berth: Berth,
  { log, events }: { readonly log: Log; readonly events: BerthEvents },
  which: (socket: HeldSocket) => boolean = () => true,
): void {
  for (const { name, socket } of berth.sockets) {
    if (!which(socket)) continue;
    for (const found of socket.repair()) {
      log("warning", `berth ${berth.name}: socket ${name} ${found}`, {
        event: "repaired",
        berth: berth.name,
        socket: name,
      });
      berth.generation++;
      events.change("repaired", berth);
    }
  }
}
