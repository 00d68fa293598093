/** What etcd has for one host: its berths, which of them it shall hold, and which files it shall copy. By one watch. */
import type { Etcd } from "../etcd/etcd.ts";
import { follow } from "../etcd/follow.ts";
import { named, readable } from "../fleet/view.ts";
import { type CopyOrder, copyOrder } from "../model/copy.ts";
import { type Hold, hold } from "../model/hold.ts";
import type { Key, Keys } from "../model/keys.ts";
import { type Assignment, assignment } from "../model/placement.ts";

/** By the berths' names. */
export interface Orders {
  readonly assignments: ReadonlyMap<string, Assignment>;
  readonly holds: ReadonlyMap<string, Hold>;
  /** Also of berths that another host has. */
  readonly copies: ReadonlyMap<string, CopyOrder>;
}

/** Calls `changed` with all orders at first and after every change. Runs until the signal. */
export async function followOrders(
  etcd: Etcd,
  keys: Keys,
  host: string,
  changed: (orders: Orders) => void,
  say: (sentence: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const assignments = new Map<string, Assignment>();
  const holds = new Map<string, Hold>();
  const copies = new Map<string, CopyOrder>();
  const put = (key: string, value: string): void => {
    const about = keys.read(key);
    const name = berthOf(about);
    if (about?.kind === "hold") set(holds, name, readable(key, value, named(hold, berthIn, name), say));
    else if (about?.kind === "copy") set(copies, name, readable(key, value, named(copyOrder, berthIn, name), say));
    else set(assignments, name, readable(key, value, named(assignment, berthIn, name), say));
  };
  const remove = (key: string): void => {
    const about = keys.read(key);
    const from = about?.kind === "hold" ? holds : about?.kind === "copy" ? copies : assignments;
    from.delete(berthOf(about));
  };
  for await (const one of follow(etcd, { prefix: keys.allOf("assignment", host) }, signal)) {
    if (one.kind === "lost" || one.kind === "back") continue;
    if (one.kind === "all") {
      assignments.clear();
      holds.clear();
      copies.clear();
      for (const { key, value } of one.entries) put(key, value);
    } else {
      for (const event of one.events) {
        if (event.kind === "removed") remove(event.key);
        else put(event.entry.key, event.entry.value);
      }
    }
    changed({ assignments: new Map(assignments), holds: new Map(holds), copies: new Map(copies) });
  }
}

const berthIn = ({ berth }: Assignment | Hold | CopyOrder): string => berth;
const berthOf = (about: Key | undefined): string => (about !== undefined && "berth" in about ? about.berth : "");

/** A record that cannot be read changes nothing. */
function set<T>(all: Map<string, T>, name: string, value: T | undefined): void {
  if (value !== undefined) all.set(name, value);
}
