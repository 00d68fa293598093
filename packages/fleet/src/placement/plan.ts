/** Which berths of a set are missing, and where they go. */
import type { BerthSet } from "../model/berth-set.ts";
import { berthOf } from "../model/names.ts";
import { type Decision, decide } from "./decide.ts";
import { booked, bookingOf, type HostView, type Need, needOf } from "./need.ts";

export interface Planned {
  readonly need: Need;
  readonly decision: Decision;
}

/** What the set needs beside the berths that are placed, in the order of their numbers. */
export function missing(set: BerthSet, placed: ReadonlySet<string>): Need[] {
  return Array.from({ length: set.count }, (_, at) => at + 1)
    .filter((number) => !placed.has(berthOf(set.name, number)))
    .map((number) => needOf(set, number));
}

/** Decides for one need after the other: each sees what the earlier ones took. */
export function plan(needs: readonly Need[], hosts: readonly HostView[]): Planned[] {
  const views = new Map(hosts.map((view) => [view.host.name, view]));
  return needs.map((need) => {
    const decision = decide(need, [...views.values()]);
    if (decision.kind === "place") {
      const view = views.get(decision.host);
      if (view !== undefined) views.set(decision.host, afterwards(view, need, decision.ports));
    }
    return { need, decision };
  });
}

function afterwards(view: HostView, need: Need, ports: Readonly<Record<string, number>>): HostView {
  return { ...view, bookings: booked(view.bookings, need.berth, bookingOf(need, ports)) };
}
