/** The history of a fleet: events in etcd, each written by the transaction that it tells of. The oldest are removed. */
import { randomBytes } from "node:crypto";
import { commitInParts, type Etcd } from "../etcd/etcd.ts";
import type { Change, Entry } from "../etcd/messages.ts";
import { Fault } from "../fault.ts";
import { type EventKind, type FleetEvent, fleetEvent, shortened } from "../model/event.ts";
import type { Keys } from "../model/keys.ts";
import { readable } from "./view.ts";

/** How many etcd keeps, and some more until the next {@link pruneSometimes}. */
export const MOST_EVENTS = 1_000;
/** One in so many writers looks for events that are too many. */
const PRUNE_ONE_IN = 50;

/** What writes an event, as a part of the transaction that it tells of. */
export function eventChange(
  keys: Keys,
  kind: EventKind,
  { why, ...about }: Omit<FleetEvent, "kind" | "time">,
  id: string = `${Date.now().toString(36)}-${randomBytes(6).toString("hex")}`,
): Change {
  const time = new Date().toISOString();
  const event: FleetEvent = { time, kind, ...about, ...(why !== undefined && { why: shortened(why) }) };
  return { put: keys.of({ kind: "event", event: id }), value: JSON.stringify(event) };
}

/** The oldest first. */
export async function readEvents(etcd: Etcd, keys: Keys): Promise<FleetEvent[]> {
  return (await eventEntries(etcd, keys)).flatMap(eventIn);
}

/** The event of a key; none if nobody can read it. */
export function eventIn({ key, value }: Entry): FleetEvent[] {
  const event = readable(key, value, fleetEvent, () => undefined);
  return event === undefined ? [] : [event];
}

/** After an event was written: removes the oldest, now and then. */
export async function pruneSometimes(etcd: Etcd, keys: Keys, chance: number = Math.random()): Promise<void> {
  if (chance * PRUNE_ONE_IN >= 1) return;
  try {
    const old = (await eventEntries(etcd, keys)).slice(0, -MOST_EVENTS);
    const removals = old.map(({ key }) => ({ remove: { key } }));
    await commitInParts(etcd, removals);
  } catch (error) {
    // The next one does it. What the event tells of has happened.
    if (!(error instanceof Fault)) throw error;
  }
}

/** In the order of writing. */
async function eventEntries(etcd: Etcd, keys: Keys): Promise<Entry[]> {
  const { lists } = await etcd.read({ prefix: keys.all("event") });
  return [...lists[0]].sort((one, other) => one.revision - other.revision);
}
