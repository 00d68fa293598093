/** What one berth of a set needs of a host, and what hosts have. */
import type { BerthSet, Strategy, WantedImage } from "../model/berth-set.ts";
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
  readonly image: WantedImage | undefined;
  /** Sockets that get a port of the host's pools. */
  readonly drawn: readonly string[];
  /** Ports that the berth names. */
  readonly fixed: readonly number[];
}

export interface HostView {
  readonly host: HostRecord;
  readonly bookings: Bookings;
  /** An operator wants no new berths there. */
  readonly cordoned?: boolean;
}

/** What the berth with this number, from 1 on, needs. */
export function needOf(set: BerthSet, number: number): Need {
  const { strategy, labels, tolerates, memory, image } = set;
  const { drawn, fixed } = socketPorts(set.berth, `set ${set.name}: berth`);
  return {
    berth: berthOf(set.name, number),
    set: set.name,
    ...{ strategy, labels, tolerates, memory, image, drawn, fixed },
  };
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
