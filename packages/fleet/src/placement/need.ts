/** What one berth of a set needs of a host, and what hosts have. */
import { imagesOfRoot } from "../model/berth-file.ts";
import type { BerthSet, Strategy, WantedImage } from "../model/berth-set.ts";
import { isTable } from "../model/fields.ts";
import type { HostRecord } from "../model/host.ts";
import { berthOf } from "../model/names.ts";
import type { Booking, Bookings } from "../model/placement.ts";
import { socketPorts } from "../model/socket-ports.ts";

export interface Need {
  readonly berth: string;
  readonly set: string;
  readonly strategy: Strategy;
  readonly labels: Readonly<Record<string, string>>;
  readonly tolerates: readonly string[];
  readonly memory: number;
  readonly images: readonly NeededImage[];
  /** Sockets that get a port of the host's pools. */
  readonly drawn: readonly string[];
  /** Ports that the berth names. */
  readonly fixed: readonly number[];
}

/** An image that the berth's root is made of, or that its set names. */
export interface NeededImage extends WantedImage {
  /** Absent: the one that is current on the host. */
  readonly version?: string;
  /** The set names it. Then a host that does not say which images it has cannot have the berth. */
  readonly isSure: boolean;
}

export interface HostView {
  readonly host: HostRecord;
  readonly bookings: Bookings;
  /** An operator wants no new berths there. */
  readonly cordoned?: boolean;
}

/** What the berth with this number, from 1 on, needs. */
export function needOf(set: BerthSet, number: number): Need {
  const { strategy, labels, tolerates, memory } = set;
  const { drawn, fixed } = socketPorts(set.berth, `set ${set.name}: berth`);
  return {
    berth: berthOf(set.name, number),
    set: set.name,
    ...{ strategy, labels, tolerates, memory, images: imagesOf(set), drawn, fixed },
  };
}

function imagesOf({ image, berth: { root } }: BerthSet): NeededImage[] {
  const named = isTable(root) ? imagesOfRoot(root) : [];
  const ofRoot = named.map((one) =>
    one.name === image?.name ? { ...image, ...one, isSure: true } : { ...one, isSure: false },
  );
  if (image === undefined || named.some(({ name }) => name === image.name)) return ofRoot;
  return [...ofRoot, { ...image, isSure: true }];
}

/** What a berth takes of the host that gets it. */
export function bookingOf(need: Need, ports: Readonly<Record<string, number>>): Booking {
  return { set: need.set, ports: [...Object.values(ports), ...need.fixed], memory: need.memory };
}

/** A host's bookings with one more. */
export function booked(bookings: Bookings, berth: string, booking: Booking): Bookings {
  return { berths: { ...bookings.berths, [berth]: booking } };
}

/** A host's bookings without those of a berth. */
export function unbooked({ berths }: Bookings, berth: string): Bookings {
  return { berths: Object.fromEntries(Object.entries(berths).filter(([name]) => name !== berth)) };
}

export function memoryLeft({ host, bookings }: HostView): number {
  return Object.values(bookings.berths).reduce((left, { memory }) => left - memory, host.memory);
}
