/** Counts what happens to berths. Only integers grow: nothing is sent or logged. */
import type { Berth } from "../berths/berth/berth.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";

/** `tenanted`: the berths that have tenants of an earlier broker. The next lease of one of these is a restart. */
export function countEvents(events: Pick<BerthEvents, "observe">, tenanted: Iterable<Berth>): void {
  const known = new WeakSet<Berth>(tenanted);
  events.observe((event, berth) => {
    const { counts } = berth;
    switch (event) {
      case "handover":
        counts.takeovers++;
        counts.leases++;
        counts.restarts++;
        return;
      case "acquired":
        counts.leases++;
        if (known.has(berth)) counts.restarts++;
        known.add(berth);
        return;
      case "starting":
        counts.starts++;
        return;
      case "failed":
        counts.startFailures++;
        return;
    }
  });
}
