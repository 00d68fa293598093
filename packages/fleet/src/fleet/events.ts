/** The history of a fleet: events in etcd, each written by the transaction that it tells of. The oldest are removed. */
import { randomBytes } from "node:crypto";
import { commitInParts, type Etcd } from "../etcd/etcd.ts";
import { follow } from "../etcd/follow.ts";
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

/** All events, the oldest first, and then each as it is written. None comes twice, also after a compaction. */
export async function* followEvents(
  etcd: Etcd,
  keys: Keys,
  signal: AbortSignal,
): AsyncGenerator<FleetEvent, void, void> {
  let last = 0;
  for await (const one of follow(etcd, { prefix: keys.all("event") }, signal)) {
    if (one.kind === "lost" || one.kind === "back") continue;
    const written =
      one.kind === "all" ? one.entries : one.events.flatMap((event) => (event.kind === "put" ? event.entry : []));
    const fresh = inOrder(written.filter(({ revision }) => revision > last));
    last = fresh.at(-1)?.revision ?? last;
    yield* fresh.flatMap(eventIn);
  }
}

/** The event of a key; none if nobody can read it. */
function eventIn({ key, value }: Entry): FleetEvent[] {
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

/** The oldest first. */
async function eventEntries(etcd: Etcd, keys: Keys): Promise<Entry[]> {
  const { lists } = await etcd.read({ prefix: keys.all("event") });
  return inOrder(lists[0]);
}

/** In the order of writing. */
function inOrder(entries: readonly Entry[]): Entry[] {
  return [...entries].sort((one, other) => one.revision - other.revision);
}
