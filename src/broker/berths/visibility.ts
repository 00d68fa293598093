/** Whether a peer may take a berth. It takes as long for a berth that is not there, so that time tells nothing. */
import type { BerthSpec } from "../../config/keys/spec.ts";
import type { Peer } from "../access/peer.ts";
import { mayTake } from "../access/policy.ts";
import type { Berth } from "./berth.ts";

export class Visibility {
  #asksGroups = false;
  #asksUnits = false;

  /** These are the berths from now on: what any of their policies asks is asked of every peer. */
  update(specs: readonly BerthSpec[]): void {
    this.#asksGroups = specs.some(({ tenant }) => tenant.gids.length > 0);
    this.#asksUnits = specs.some(({ tenant }) => tenant.units.length > 0);
  }

  mayTake(berth: Berth | undefined, peer: Peer): berth is Berth {
    if (this.#asksGroups) void peer.groups;
    if (this.#asksUnits) void peer.unit;
    return berth !== undefined && mayTake(berth.spec.tenant, peer);
  }
}
