/** The limits of each user: connections, stashed descriptors, servers with bind delivery. */

export type Resource = "connections" | "stash" | "interceptions";

export type QuotaLimits = Readonly<Record<Resource, number>>;

export const DEFAULT_QUOTA: QuotaLimits = { connections: 256, stash: 1024, interceptions: 1024 };

export class Quota {
  readonly limits: QuotaLimits;
  readonly #used: Record<Resource, Map<number, number>> = {
    connections: new Map(),
    stash: new Map(),
    interceptions: new Map(),
  };

  constructor(limits: QuotaLimits = DEFAULT_QUOTA) {
    this.limits = limits;
  }

  /** Charges one to a user. False when that would exceed the limit; then nothing is charged. */
  charge(resource: Resource, uid: number): boolean {
    const used = this.used(resource, uid);
    if (used >= this.limits[resource]) return false;
    this.#used[resource].set(uid, used + 1);
    return true;
  }

  /** Takes one charge back. */
  refund(resource: Resource, uid: number): void {
    const used = this.used(resource, uid) - 1;
    if (used > 0) this.#used[resource].set(uid, used);
    else this.#used[resource].delete(uid);
  }

  used(resource: Resource, uid: number): number {
    return this.#used[resource].get(uid) ?? 0;
  }
}
