/** The transactions that give a berth to a host, and take it away. They change nothing if what was read has changed. */
import type { Etcd } from "../etcd/etcd.ts";
import type { Change, Condition } from "../etcd/messages.ts";
import type { BerthSet } from "../model/berth-set.ts";
import type { Keys } from "../model/keys.ts";
import type { Assignment, Bookings, Placement } from "../model/placement.ts";
import { withPorts } from "../model/socket-ports.ts";
import type { Decision } from "../placement/decide.ts";
import { booked, bookingOf, type Need, unbooked } from "../placement/need.ts";
import { eventChange, pruneSometimes } from "./events.ts";
import { bookingsOf, type FleetView, type Kept } from "./view.ts";

/** What else a placement depends on. */
export interface Terms {
  readonly conditions?: readonly Condition[];
  /** What changes with it. */
  readonly changes?: readonly Change[];
  /** The host gets it even if it is closed to new berths. */
  readonly evenIfCordoned?: boolean;
  /** For the history. Without it: `placed`. */
  readonly event?: "placed" | "moved" | "returned" | "replaced";
  /** Why it was placed, or why there. */
  readonly why?: string;
}

interface Step {
  readonly conditions: readonly Condition[];
  readonly changes: readonly Change[];
  /** What hosts have booked afterwards. */
  readonly bookings: readonly (readonly [string, Bookings])[];
}

/**
 * Gives the berth to the host of the decision. Resolves with the view as it is then. Undefined: somebody has changed
 * the set, the host's bookings or the berth meanwhile, or the host is lost or closed.
 */
export async function commitPlacement(
  etcd: Etcd,
  keys: Keys,
  view: FleetView,
  set: Kept<BerthSet>,
  need: Need,
  decision: Extract<Decision, { kind: "place" }>,
  { conditions = [], changes = [], evenIfCordoned = false, event = "placed", why }: Terms = {},
): Promise<FleetView | undefined> {
  const { host, ports, fetches } = decision;
  const { berth } = need;
  // Above that of every earlier placement of this berth: a removal of one changes or removes its set as well, and then
  // this transaction fails.
  const generation = view.revision + 1;
  const placed: Placement = { berth, set: need.set, host, generation, ports, onLost: set.record.onLost };
  const assigned: Assignment = {
    berth,
    generation,
    config: withPorts(set.record.berth, ports),
    ...(fetches.length > 0 && { images: fetches }),
  };
  const former = view.placements.get(berth);
  const removal = former === undefined ? NOTHING : removalStep(keys, view, former);
  const before = bookingsOf(view, host);
  const after = booked(before.record, berth, bookingOf(need, ports));
  const placement = keys.of({ kind: "placement", berth });
  const from = former?.record.host;
  const about = { set: need.set, berth, generation, host, ...(from && { from }), ...(why !== undefined && { why }) };
  const { done, revision } = await etcd.commit(
    [
      { key: placement, revision: former?.revision ?? 0 },
      { key: keys.of({ kind: "set", set: need.set }), revision: set.revision },
      { key: keys.of({ kind: "host", host }), present: true },
      ...(evenIfCordoned ? [] : [{ key: keys.of({ kind: "cordon", host }), revision: 0 }]),
      { key: keys.of({ kind: "bookings", host }), revision: before.revision },
      ...removal.conditions,
      ...conditions,
    ],
    [
      ...removal.changes,
      { put: placement, value: JSON.stringify(placed) },
      { put: keys.of({ kind: "assignment", host, berth }), value: JSON.stringify(assigned) },
      { put: keys.of({ kind: "bookings", host }), value: JSON.stringify(after) },
      eventChange(keys, event, about),
      ...changes,
    ],
  );
  if (!done) return undefined;
  await pruneSometimes(etcd, keys);
  return {
    ...view,
    placements: new Map(view.placements).set(berth, { record: placed, revision }),
    bookings: withBookings(view, [...removal.bookings, [host, after]], revision),
  };
}

/** Takes the berth from its host. Resolves with the view as it is then. Undefined: it was changed meanwhile. */
export async function commitRemoval(
  etcd: Etcd,
  keys: Keys,
  view: FleetView,
  former: Kept<Placement>,
): Promise<FleetView | undefined> {
  const { berth, set, generation, host } = former.record;
  const placement = keys.of({ kind: "placement", berth });
  const step = removalStep(keys, view, former);
  const unchanged = { key: placement, revision: former.revision };
  const { done, revision } = await etcd.commit(
    [unchanged, ...step.conditions],
    [{ remove: { key: placement } }, ...step.changes, eventChange(keys, "removed", { set, berth, generation, host })],
  );
  if (!done) return undefined;
  await pruneSometimes(etcd, keys);
  const placements = new Map(view.placements);
  placements.delete(berth);
  return { ...view, placements, bookings: withBookings(view, step.bookings, revision) };
}

const NOTHING: Step = { conditions: [], changes: [], bookings: [] };

/** What the former host has of a berth. */
function removalStep(keys: Keys, view: FleetView, { record: { berth, host } }: Kept<Placement>): Step {
  const key = keys.of({ kind: "bookings", host });
  const before = bookingsOf(view, host);
  const after = unbooked(before.record, berth);
  return {
    conditions: [{ key, revision: before.revision }],
    changes: [
      { remove: { key: keys.of({ kind: "assignment", host, berth }) } },
      { remove: { key: keys.of({ kind: "hold", host, berth }) } },
      { remove: { key: keys.of({ kind: "allocation", berth }) } },
      { put: key, value: JSON.stringify(after) },
    ],
    bookings: [[host, after]],
  };
}

function withBookings(
  view: FleetView,
  changed: readonly (readonly [string, Bookings])[],
  revision: number,
): ReadonlyMap<string, Kept<Bookings>> {
  const bookings = new Map(view.bookings);
  for (const [host, record] of changed) bookings.set(host, { record, revision });
  return bookings;
}
