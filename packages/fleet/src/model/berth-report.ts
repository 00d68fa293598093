/** What a host's broker says of a berth of the fleet. */
import { Fields, integer, type Reader, text } from "./fields.ts";
import { berthName, serverId } from "./names.ts";
import { generation } from "./placement.ts";

export interface BerthReport {
  readonly berth: string;
  readonly generation: number;
  /**
   * As `berth ls` calls it; `refused`: the broker does not take its file; `waiting`: it has not yet; `held`: its server
   * has ended, and it is off until the hold ends; `fetching`: it waits for an image; `no broker`.
   */
  readonly state: string;
  /** Why it does not run, where that is known. */
  readonly why?: string;
  readonly players?: number;
  /** How many can play. */
  readonly max?: number;
  /** Which server it is, while it has one: the id of its lease at the broker. */
  readonly server?: string;
}

const line = text(/^[^\0]*$/, "a text");

export const berthReport: Reader<BerthReport> = (value, at) => {
  const fields = new Fields(value, at);
  const why = fields.or("why", line, undefined);
  const players = fields.or("players", integer(0, Number.MAX_SAFE_INTEGER), undefined);
  const max = fields.or("max", integer(0, Number.MAX_SAFE_INTEGER), undefined);
  const server = fields.or("server", serverId, undefined);
  return {
    berth: fields.get("berth", berthName),
    generation: fields.get("generation", generation),
    state: fields.get("state", line),
    ...(why !== undefined && { why }),
    ...(players !== undefined && { players }),
    ...(max !== undefined && { max }),
    ...(server !== undefined && { server }),
  };
};
