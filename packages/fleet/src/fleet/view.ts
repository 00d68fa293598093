/** All that a decision needs, read at one revision. */
import type { Etcd } from "../etcd/etcd.ts";
import type { Entry } from "../etcd/messages.ts";
import { Fault } from "../fault.ts";
import { type BerthSet, berthSet } from "../model/berth-set.ts";
import { fromJson, invalid, type Reader } from "../model/fields.ts";
import { type HostRecord, hostRecord } from "../model/host.ts";
import type { Keys } from "../model/keys.ts";
import { type Bookings, bookings, NO_BOOKINGS, type Placement, placement } from "../model/placement.ts";
import type { HostView } from "../placement/need.ts";

/** A record, and the revision by which a transaction makes sure that it is still the same. */
export interface Kept<T> {
  readonly record: T;
  readonly revision: number;
}

export interface FleetView {
  readonly revision: number;
  /** Hosts whose agents keep their leases, and whose records can be read. */
  readonly hosts: ReadonlyMap<string, HostRecord>;
  /** Also of hosts that are lost. */
  readonly bookings: ReadonlyMap<string, Kept<Bookings>>;
  /** Hosts that are closed to new berths. */
  readonly cordons: ReadonlySet<string>;
  readonly sets: ReadonlyMap<string, Kept<BerthSet>>;
  readonly placements: ReadonlyMap<string, Kept<Placement>>;
  /** Records that cannot be read, as sentences. What they are about is left alone. */
  readonly problems: readonly string[];
}

export async function readFleet(etcd: Etcd, keys: Keys): Promise<FleetView> {
  const { revision, lists } = await etcd.read(
    { prefix: keys.all("host") },
    { prefix: keys.all("bookings") },
    { prefix: keys.all("set") },
    { prefix: keys.all("placement") },
    { prefix: keys.all("cordon") },
  );
  const problems: string[] = [];
  const kept = <T>(
    entries: readonly Entry[],
    read: Reader<T>,
    nameOf?: (record: T) => string,
  ): Map<string, Kept<T>> => {
    const found = new Map<string, Kept<T>>();
    for (const { key, value, revision: of } of entries) {
      const name = keys.nameIn(key);
      const reader = nameOf === undefined ? read : named(read, nameOf, name);
      const record = readable(key, value, reader, (problem) => problems.push(problem));
      if (record !== undefined) found.set(name, { record, revision: of });
    }
    return found;
  };
  const booked = kept(lists[1], bookings);
  // Without its bookings nobody knows which ports a host has left.
  const isSound = (host: string): boolean => booked.has(host) || lists[1].every(({ key }) => keys.nameIn(key) !== host);
  const hosts = [...kept(lists[0], hostRecord, ({ name }) => name)].filter(([name]) => isSound(name));
  return {
    revision,
    hosts: new Map(hosts.map(([name, { record }]) => [name, record])),
    bookings: booked,
    cordons: new Set(lists[4].map(({ key }) => keys.nameIn(key))),
    sets: kept(lists[2], berthSet, ({ name }) => name),
    placements: kept(lists[3], placement, ({ berth }) => berth),
    problems,
  };
}

/** The record of a key; undefined, and a sentence, if it is none. */
export function readable<T>(
  key: string,
  value: string,
  read: Reader<T>,
  say: (problem: string) => void,
): T | undefined {
  try {
    return fromJson(value, read, key);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    say(error.message);
    return undefined;
  }
}

/** Refuses a record with another name than its key: a caller that changes it by its name would change another key. */
export function named<T>(read: Reader<T>, nameOf: (record: T) => string, name: string): Reader<T> {
  return (value, at) => {
    const record = read(value, at);
    if (nameOf(record) !== name) throw invalid(at, `is about ${nameOf(record)}, and its key about ${name}`);
    return record;
  };
}

/** The bookings of a host. Revision 0: it has none yet. */
export function bookingsOf(view: FleetView, host: string): Kept<Bookings> {
  return view.bookings.get(host) ?? { record: NO_BOOKINGS, revision: 0 };
}

/** The hosts as placement takes them. */
export function hostViews(view: FleetView): HostView[] {
  return [...view.hosts.values()].map((host) => {
    const cordoned = view.cordons.has(host.name);
    return { host, bookings: bookingsOf(view, host.name).record, ...(cordoned && { cordoned }) };
  });
}

/** The number in a berth's name. */
export function numberOf({ berth, set }: Placement): number {
  return Number(berth.slice(set.length + 1));
}

/** The berths of a set that are placed, in the order of their numbers. */
export function placedOf(view: FleetView, set: string): Kept<Placement>[] {
  return [...view.placements.values()]
    .filter(({ record }) => record.set === set)
    .sort((one, other) => numberOf(one.record) - numberOf(other.record));
}
