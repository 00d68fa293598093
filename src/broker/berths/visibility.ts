/** Whether a peer may take a berth, or any. It takes as long for a missing berth, so that timing tells nothing. */
import type { BerthSpec } from "../../config/keys/spec.ts";
import type { Peer } from "../access/peer.ts";
import { mayTake } from "../access/policy.ts";
import type { Berth } from "./berth.ts";

export class Visibility {
  #specs: readonly BerthSpec[] = [];
  #asksGroups = false;
  #asksUnits = false;

  /** Sets the berths. Each peer is asked everything that any policy of theirs needs. */
  update(specs: readonly BerthSpec[]): void {
    this.#specs = specs;
    this.#asksGroups = specs.some(({ tenant }) => tenant.gids.length > 0);
    this.#asksUnits = specs.some(({ tenant }) => tenant.units.length > 0);
  }

  /** Whether there is a berth that the peer may take. */
  mayTakeAny(peer: Peer): boolean {
    return this.#specs.some(({ tenant }) => mayTake(tenant, peer));
  }

  mayTake(berth: Berth | undefined, peer: Peer): berth is Berth {
    if (this.#asksGroups) void peer.groups;
    if (this.#asksUnits) void peer.unit;
    return berth !== undefined && mayTake(berth.spec.tenant, peer);
  }
}
