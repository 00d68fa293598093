/** What a host is told about one of its berths: to end its server and leave it off, and where no new berths come. */
import { Fields, integer, oneOf, type Reader } from "./fields.ts";
import { berthName } from "./names.ts";
import { generation } from "./placement.ts";

/** A berth's server ends as `berth drain` ends it. It starts again when the hold is gone and the berth still there. */
export interface Hold {
  readonly berth: string;
  readonly generation: number;
  /** In how many seconds the server is stopped at the latest; 0: at once. Absent: only when nobody plays. */
  readonly within?: number;
  /** `move`: for as long as the program that moves it lives. `drain`: until an operator opens the host again. */
  readonly by: "move" | "drain";
}

/** An operator wants no new berths on this host. */
export interface Cordon {
  readonly host: string;
}

/** A week, as of `berth drain`. */
export const LONGEST_DRAIN_SECONDS: number = 7 * 24 * 3600;

export const hold: Reader<Hold> = (value, at) => {
  const fields = new Fields(value, at);
  const within = fields.or("within", integer(0, LONGEST_DRAIN_SECONDS), undefined);
  return {
    berth: fields.get("berth", berthName),
    generation: fields.get("generation", generation),
    ...(within !== undefined && { within }),
    by: fields.get("by", oneOf("move", "drain")),
  };
};
