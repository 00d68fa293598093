/**
 * Every lease there is, by its id and by its tenant, and who may speak for it. It gives no lease, and does not know
 * when one ends.
 */
import type { Berth } from "./berth.ts";
import type { Lease } from "./lease.ts";
import type { Refusal, Speaker } from "./request.ts";

/** A lease and what it is of. */
export interface Tenancy {
  readonly berth: Berth;
  readonly lease: Lease;
}

export class Leases {
  readonly #byId = new Map<string, Tenancy>();

  add(berth: Berth, lease: Lease): void {
    this.#byId.set(lease.id, { berth, lease });
  }

  /** Lets go of the tenant. Its berth is the caller's to set right. */
  end(lease: Lease): void {
    this.#byId.delete(lease.id);
    lease.end();
  }

  /** The lease of that id. It asks no policy. */
  get(id: string): Lease | undefined {
    return this.#byId.get(id)?.lease;
  }

  /** The lease if the requester may speak for it; another's lease is answered as one that is not there. */
  of(id: string, who: Speaker): Tenancy | Refusal {
    const found = this.#byId.get(id);
    return found !== undefined && (who.privileged || who.holds(found.lease)) ? found : { kind: "no-lease", lease: id };
  }

  /** Ignores that tenants exit, until {@link resume}. */
  pause(): void {
    for (const { lease } of this.#byId.values()) lease.pause();
  }

  resume(): void {
    for (const { lease } of this.#byId.values()) lease.resume();
  }

  /** The nearest tenant, of a process and those above it. */
  among(pids: readonly number[]): Tenancy | undefined {
    let nearest: Tenancy | undefined;
    let distance = pids.length;
    for (const tenancy of this.#byId.values()) {
      const at = pids.indexOf(tenancy.lease.tenant.pid);
      if (at < 0 || at >= distance) continue;
      nearest = tenancy;
      distance = at;
    }
    return nearest;
  }
}
