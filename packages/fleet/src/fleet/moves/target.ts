/** Which berth is to move, and whether another host can have it. */
import { Fault } from "../../fault.ts";
import { keepsFiles } from "../../model/berth-file.ts";
import type { BerthSet } from "../../model/berth-set.ts";
import type { Placement } from "../../model/placement.ts";
import { type Decision, decide } from "../../placement/decide.ts";
import { explain } from "../../placement/explain.ts";
import { type Need, needOf } from "../../placement/need.ts";
import { type FleetView, hostViews, type Kept, numberOf } from "../view.ts";

export interface Target {
  readonly set: Kept<BerthSet>;
  readonly need: Need;
  readonly decision: Extract<Decision, { kind: "place" }>;
}

/** Throws NO_SUCH_BERTH. */
export function placedIn(view: FleetView, berth: string): Kept<Placement> {
  const found = view.placements.get(berth);
  if (found !== undefined) return found;
  throw new Fault("NO_SUCH_BERTH", `there is no berth ${berth} on any host; to see all: berth-fleet ls`);
}

/** Throws NO_FIT for a berth whose files would stay behind. */
export function refuseFiles(view: FleetView, { berth, set, host }: Placement): void {
  const record = view.sets.get(set)?.record;
  if (record !== undefined && keepsFiles(record.berth))
    throw new Fault("NO_FIT", `${berth} has files on ${host}, which a move leaves there; to do so: --without-files`);
}

/** Where it goes. Without `to`: the best other host. Throws NO_FIT, with the reason for each host. */
export function targetIn(view: FleetView, placed: Placement, to: string | undefined): Target {
  const { berth, set: name, host } = placed;
  const set = view.sets.get(name);
  if (set === undefined)
    throw new Fault("NOT_MOVED", `its set ${name} is gone; to end ${berth}: berth-fleet rm ${name}`);
  if (to === host) throw new Fault("NO_FIT", `${berth} is on ${to} already`);
  if (to !== undefined && !view.hosts.has(to))
    throw new Fault("NO_SUCH_HOST", `there is no host ${to}, or it is silent; to see all: berth-fleet ls hosts`);
  const need = needOf(set.record, numberOf(placed));
  const others = hostViews(view).filter((one) => (to === undefined ? one.host.name !== host : one.host.name === to));
  const decision = decide(need, others);
  if (decision.kind === "place") return { set, need, decision };
  const reasons = explain(decision).others.map((one) => `${one.host} ${one.why}`);
  throw new Fault("NO_FIT", `no other host can have ${berth}: ${reasons.join("; ") || "there is none"}`);
}
