/**
 * The limits of each user: connections, stashed descriptors, servers with bind delivery. A user is charged as the
 * account that owners.ts tells. Who charges remembers the account: who owns an id can change.
 */

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

  /** The account whose limits a user shares. */
  readonly accountOf: (uid: number) => number;

  constructor(limits: QuotaLimits = DEFAULT_QUOTA, accountOf: (uid: number) => number = (uid) => uid) {
    this.limits = limits;
    this.accountOf = accountOf;
  }

  /** Charges one to an account. False when that would exceed the limit; then nothing is charged. */
  charge(resource: Resource, account: number): boolean {
    const used = this.used(resource, account);
    if (used >= this.limits[resource]) return false;
    this.#used[resource].set(account, used + 1);
    return true;
  }

  /** Takes one charge back. */
  refund(resource: Resource, account: number): void {
    const used = this.used(resource, account) - 1;
    if (used > 0) this.#used[resource].set(account, used);
    else this.#used[resource].delete(account);
  }

  used(resource: Resource, account: number): number {
    return this.#used[resource].get(account) ?? 0;
  }
}

/** For a message about a limit. */
export function describeUser(uid: number, account: number): string {
  return uid === account ? `uid ${uid}` : `uid ${uid}, which counts as uid ${account},`;
}
