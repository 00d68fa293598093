/** Why a berth is where it is, and where it would be placed now. */
import { Fault } from "../fault.ts";
import { decide } from "../placement/decide.ts";
import { type Explanation, explain } from "../placement/explain.ts";
import { needOf, unbooked } from "../placement/need.ts";
import { type FleetView, hostViews } from "./view.ts";

export interface BerthExplanation {
  readonly berth: string;
  readonly set: string;
  /** Where it is; null: it is not placed. */
  readonly host: string | null;
  /** What placement would decide now, as if it were on no host. */
  readonly now: Explanation;
}

/** Throws NO_SUCH_BERTH. */
export function explainBerth(view: FleetView, berth: string): BerthExplanation {
  const [, name = "", digits] = /^(.+)-([1-9]\d{0,4})$/.exec(berth) ?? [];
  const set = view.sets.get(name)?.record;
  if (set === undefined || digits === undefined)
    throw new Fault("NO_SUCH_BERTH", `no set has a berth ${berth}; to see all: berth-fleet ls sets`);
  const host = view.placements.get(berth)?.record.host ?? null;
  if (Number(digits) > set.count && host === null)
    throw new Fault("NO_SUCH_BERTH", `set ${name} has ${set.count} berths, so there is no ${berth}`);
  const hosts = hostViews(view).map((one) => {
    if (one.host.name !== host) return one;
    // That it is closed does not matter to what it has.
    return { ...one, bookings: unbooked(one.bookings, berth), cordoned: false };
  });
  return { berth, set: name, host, now: explain(decide(needOf(set, Number(digits)), hosts)) };
}
