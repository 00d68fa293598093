/** Where in etcd each record is. Everything is beneath one prefix. */
import { Fault } from "../fault.ts";

/** What a key is about. The names come last, so that one range has all of a kind, or all of a host. */
export type Key =
  | { readonly kind: "host" | "bookings" | "cordon"; readonly host: string }
  | { readonly kind: "claim" }
  | { readonly kind: "set"; readonly set: string }
  | { readonly kind: "event"; readonly event: string }
  | { readonly kind: "placement" | "allocation"; readonly berth: string }
  | { readonly kind: "places"; readonly berth: string; readonly id: string }
  | {
      readonly kind: "assignment" | "hold" | "copy" | "state" | "copied";
      readonly host: string;
      readonly berth: string;
    };

const FOLDERS = {
  host: "hosts",
  bookings: "bookings",
  cordon: "cordons",
  claim: "claims",
  set: "sets",
  event: "events",
  placement: "placements",
  allocation: "allocations",
  places: "places",
  assignment: "assignments",
  hold: "assignments",
  copy: "assignments",
  state: "states",
  copied: "states",
} as const;

const LOST_HOSTS = "lost-hosts";
const HOLD = "hold";
const COPY = "copy";
const ORDERS: Readonly<Record<string, "hold" | "copy">> = { [HOLD]: "hold", [COPY]: "copy" };

/**
 * - `hosts/HOST`: the host, for as long as its agent keeps its lease.
 * - `bookings/HOST`: the ports and the memory that its berths take. A placement changes it, so it fences others.
 * - `cordons/HOST`: an operator wants no new berths there.
 * - `claims/lost-hosts`: who looks after lost hosts, for as long as they keep their lease.
 * - `sets/SET`: what an operator wants.
 * - `placements/BERTH`: which host has the berth.
 * - `assignments/HOST/BERTH`: the same for the host, with the berth file. An agent watches only those of its host.
 * - `assignments/HOST/BERTH/hold`: the host shall end the berth's server and leave it off. An agent learns both by one
 *   watch, so it never sees the end of a hold without what else the same transaction has changed.
 * - `assignments/HOST/BERTH/copy`: what the host shall do with the berth's files, while it moves from or to this host.
 * - `states/HOST/BERTH`: what the host's broker says of it, under the host's lease.
 * - `states/HOST/BERTH/copy`: what the host says of its order about files.
 * - `allocations/BERTH`: a match has it.
 * - `places/BERTH/ID`: players who are on their way to a shared berth.
 * - `events/ID`: what happened; the newest are kept.
 */
export class Keys {
  readonly prefix: string;

  /** `prefix` as `/berthd/`. Throws USAGE. */
  constructor(prefix = "/berthd/") {
    if (!/^\/(?:[A-Za-z0-9_.-]+\/)+$/.test(prefix))
      throw new Fault(
        "USAGE",
        `the prefix ${JSON.stringify(prefix)} does not begin and end with a slash: write /NAME/`,
      );
    this.prefix = prefix;
  }

  /** All keys of a kind; of one host where the kind has them. */
  all(kind: Key["kind"]): string {
    return `${this.prefix}${FOLDERS[kind]}/`;
  }

  allOf(kind: "assignment" | "state", host: string): string {
    return `${this.all(kind)}${host}/`;
  }

  of(key: Key): string {
    switch (key.kind) {
      case "host":
      case "bookings":
      case "cordon":
        return `${this.all(key.kind)}${key.host}`;
      case "claim":
        return `${this.all(key.kind)}${LOST_HOSTS}`;
      case "set":
        return `${this.all(key.kind)}${key.set}`;
      case "event":
        return `${this.all(key.kind)}${key.event}`;
      case "placement":
      case "allocation":
        return `${this.all(key.kind)}${key.berth}`;
      case "places":
        return `${this.all(key.kind)}${key.berth}/${key.id}`;
      case "assignment":
      case "state":
        return `${this.allOf(key.kind, key.host)}${key.berth}`;
      case "hold":
        return `${this.allOf("assignment", key.host)}${key.berth}/${HOLD}`;
      case "copy":
        return `${this.allOf("assignment", key.host)}${key.berth}/${COPY}`;
      case "copied":
        return `${this.allOf("state", key.host)}${key.berth}/${COPY}`;
    }
    key satisfies never;
  }

  /** What a key is about; undefined: it is none of ours. The inverse of {@link of}. */
  read(key: string): Key | undefined {
    if (!key.startsWith(this.prefix)) return undefined;
    const [folder, first = "", second = "", last] = key.slice(this.prefix.length).split("/");
    if (first === "") return undefined;
    switch (folder) {
      case FOLDERS.host:
        return { kind: "host", host: first };
      case FOLDERS.bookings:
        return { kind: "bookings", host: first };
      case FOLDERS.cordon:
        return { kind: "cordon", host: first };
      case FOLDERS.claim:
        return first === LOST_HOSTS ? { kind: "claim" } : undefined;
      case FOLDERS.set:
        return { kind: "set", set: first };
      case FOLDERS.event:
        return { kind: "event", event: first };
      case FOLDERS.placement:
        return { kind: "placement", berth: first };
      case FOLDERS.allocation:
        return { kind: "allocation", berth: first };
      case FOLDERS.places:
        return { kind: "places", berth: first, id: second };
      case FOLDERS.state:
        return { kind: last === COPY ? "copied" : "state", host: first, berth: second };
      case FOLDERS.assignment:
        return { kind: ORDERS[last ?? ""] ?? "assignment", host: first, berth: second };
      default:
        return undefined;
    }
  }

  /** The berth that the key of a hold is about; undefined: it is no such key. */
  heldBy(key: string): string | undefined {
    const about = this.read(key);
    return about?.kind === "hold" ? about.berth : undefined;
  }

  /** The name that a key ends with: the berth of a placement, the host of a host's record. */
  nameIn(key: string): string {
    return key.slice(key.lastIndexOf("/") + 1);
  }
}
