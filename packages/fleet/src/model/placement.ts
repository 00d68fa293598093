/** Which host has a berth, and what the berths of a host take. */
import type { OnLost } from "./berth-set.ts";
import { Fields, integer, invalid, type JsonObject, jsonObject, list, oneOf, type Reader, table } from "./fields.ts";
import { bytes } from "./host.ts";
import { type ImageFetch, imageFetch } from "./image-fetch.ts";
import { berthName, hostName, serverId, setName, socketName } from "./names.ts";
import { port } from "./ports.ts";

/** One berth, on one host. */
export interface Placement {
  readonly berth: string;
  readonly set: string;
  readonly host: string;
  /** Grows with each placement of a berth of this name. A host with a lower one has lost the berth. */
  readonly generation: number;
  /** The ports that were drawn, by socket. */
  readonly ports: Readonly<Record<string, number>>;
  readonly onLost: OnLost;
}

/** What the agent of the host needs to serve the berth. */
export interface Assignment {
  readonly berth: string;
  readonly generation: number;
  /** The berth file, as a table, with all ports. */
  readonly config: JsonObject;
  /** Images that the host gets first. */
  readonly images?: readonly ImageFetch[];
}

export interface Booking {
  readonly set: string;
  /** Drawn and fixed. */
  readonly ports: readonly number[];
  readonly memory: number;
}

/** What the berths of one host take, by their names. */
export interface Bookings {
  readonly berths: Readonly<Record<string, Booking>>;
}

/** A berth that somebody has for themselves, as a match has its server. It ends with the server. */
export interface Allocation {
  readonly berth: string;
  readonly generation: number;
  /** As the host reports it: `server` of its report. */
  readonly server: string;
  /** Others may join it while it has free places. */
  readonly shared?: true;
}

/** Places of a shared berth for players who are on their way. The key goes after a minute: then they play, or not. */
export interface Places {
  readonly berth: string;
  readonly server: string;
  readonly players: number;
}

export const MOST_PLAYERS = 1_000_000;

export const NO_BOOKINGS: Bookings = { berths: {} };

export const generation: Reader<number> = integer(1, Number.MAX_SAFE_INTEGER);

export const placement: Reader<Placement> = (value, at) => {
  const fields = new Fields(value, at);
  const berth = fields.get("berth", berthName);
  const set = fields.get("set", setName);
  if (!(berth.startsWith(set) && /^-[1-9]\d{0,4}$/.test(berth.slice(set.length))))
    throw invalid(at, `${berth} is no berth of the set ${set}`);
  return {
    ...{ berth, set },
    host: fields.get("host", hostName),
    generation: fields.get("generation", generation),
    ports: fields.get("ports", table(socketName, port)),
    onLost: fields.get("onLost", oneOf("stay", "replace")),
  };
};

export const assignment: Reader<Assignment> = (value, at) => {
  const fields = new Fields(value, at);
  const images = fields.or("images", list(imageFetch), undefined);
  return {
    berth: fields.get("berth", berthName),
    generation: fields.get("generation", generation),
    config: fields.get("config", jsonObject),
    ...(images !== undefined && { images }),
  };
};

const booking: Reader<Booking> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    set: fields.get("set", setName),
    ports: fields.get("ports", list(port)),
    memory: fields.get("memory", bytes),
  };
};

export const bookings: Reader<Bookings> = (value, at) => ({
  berths: new Fields(value, at).get("berths", table(berthName, booking)),
});

export const allocation: Reader<Allocation> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    berth: fields.get("berth", berthName),
    generation: fields.get("generation", generation),
    server: fields.get("server", serverId),
    ...(fields.or("shared", isTrue, false) && { shared: true }),
  };
};

const isTrue: Reader<boolean> = (value, at) => {
  if (typeof value !== "boolean") throw invalid(at, "must be true or false");
  return value;
};

export const places: Reader<Places> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    berth: fields.get("berth", berthName),
    server: fields.get("server", serverId),
    players: fields.get("players", integer(1, MOST_PLAYERS)),
  };
};
