/** Something that happened to a fleet, for its history. */
import { Fields, type Reader, text } from "./fields.ts";
import { berthName, hostName, setName } from "./names.ts";
import { generation } from "./placement.ts";

export type EventKind =
  | "placed"
  | "refused"
  | "removed"
  | "moved"
  /** It did not start where it had moved to. */
  | "returned"
  /** Its host was lost, and another one has it. */
  | "replaced"
  | "allocated"
  | "released"
  /** The agent of a host has begun, or its lease had ended. */
  | "joined"
  | "silent"
  | "closed"
  | "opened";

export interface FleetEvent {
  /** By the clock of the one who wrote it, as `2026-01-31T12:00:00.000Z`. */
  readonly time: string;
  /** An {@link EventKind}, or what a newer version writes. */
  readonly kind: string;
  readonly set?: string;
  readonly berth?: string;
  readonly generation?: number;
  readonly host?: string;
  /** The host that had the berth before. */
  readonly from?: string;
  readonly why?: string;
}

/** Characters of `why`. */
const LONGEST_WHY = 400;
const line = text(/^[^\0\n]*$/, "a line");

export const fleetEvent: Reader<FleetEvent> = (value, at) => {
  const fields = new Fields(value, at);
  const optional = {
    set: fields.or("set", setName, undefined),
    berth: fields.or("berth", berthName, undefined),
    generation: fields.or("generation", generation, undefined),
    host: fields.or("host", hostName, undefined),
    from: fields.or("from", hostName, undefined),
    why: fields.or("why", line, undefined),
  };
  const { set, berth, generation: number, host, from, why } = optional;
  return {
    time: fields.get("time", line),
    kind: fields.get("kind", line),
    ...(set !== undefined && { set }),
    ...(berth !== undefined && { berth }),
    ...(number !== undefined && { generation: number }),
    ...(host !== undefined && { host }),
    ...(from !== undefined && { from }),
    ...(why !== undefined && { why }),
  };
};

/** A reason as one line that is short enough. */
export function shortened(why: string): string {
  const one = why.replace(/[\0\n]+/g, " ");
  return one.length <= LONGEST_WHY ? one : `${one.slice(0, LONGEST_WHY - 1)}…`;
}
