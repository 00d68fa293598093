/**
 * Whether a peer may take a berth, or any; and whether it may see one. It takes as long for a missing berth, so that
 * timing tells nothing.
 */
import type { BerthSpec, TenantSpec } from "../../config/keys/spec.ts";
import type { Peer } from "../access/peer.ts";
import { isNamed } from "../access/policy.ts";
import type { Berth } from "./berth/berth.ts";
import type { Requester } from "./request.ts";

const nobody: TenantSpec = { uids: [], gids: [], units: [] };

export class Visibility {
  /** Who may see every berth. */
  readonly #observers: TenantSpec;
  /** Of all berths. Most share a few. */
  #tenants: ReadonlySet<TenantSpec> = new Set();
  #asksGroups = false;
  #asksUnits = false;

  constructor(observers: TenantSpec = nobody) {
    this.#observers = observers;
  }

  /** Sets the berths. Each peer is asked everything that any policy of theirs needs. */
  update(specs: Iterable<Pick<BerthSpec, "tenant" | "observer">>): void {
    const tenants = new Set<TenantSpec>();
    const observers = new Set([this.#observers]);
    for (const { tenant, observer } of specs) {
      tenants.add(tenant);
      if (observer !== undefined) observers.add(observer);
    }
    this.#tenants = tenants;
    const sections = [...tenants, ...observers];
    this.#asksGroups = sections.some(({ gids }) => gids.length > 0);
    this.#asksUnits = sections.some(({ units }) => units.length > 0);
  }

  /** Whether there is a berth that the peer may take. */
  mayTakeAny(peer: Peer): boolean {
    for (const tenant of this.#tenants) if (isNamed(tenant, peer)) return true;
    return false;
  }

  mayTake(berth: Berth | undefined, peer: Peer): berth is Berth {
    this.#ask(peer);
    return berth !== undefined && isNamed(berth.spec.tenant, peer);
  }

  /** Whether the peer may see the berth although it may not take it, and may report its players. */
  observes(berth: Berth | undefined, peer: Peer): berth is Berth {
    this.#ask(peer);
    if (berth === undefined) return false;
    return this.#isObserver(berth, peer);
  }

  /** Whether the peer may speak for the berth's server: as the program that serves its SDK. */
  speaksFor({ spec }: Berth, { uid }: Pick<Peer, "uid">): boolean {
    return spec.server.sdk?.user === uid;
  }

  /** Whether the requester may see the berth in lists and events. */
  sees(berth: Berth, { privileged, peer }: Pick<Requester, "privileged" | "peer">): boolean {
    return (
      privileged || isNamed(berth.spec.tenant, peer) || this.#isObserver(berth, peer) || this.speaksFor(berth, peer)
    );
  }

  #isObserver({ spec }: Berth, peer: Peer): boolean {
    return isNamed(this.#observers, peer) || isNamed(spec.observer ?? nobody, peer);
  }

  #ask(peer: Peer): void {
    if (this.#asksGroups) void peer.groups;
    if (this.#asksUnits) void peer.unit;
  }
}
