/** All leases, by id and by tenant, and who may act on them. It neither grants nor ends leases by itself. */
import type { Berth } from "./berth/berth.ts";
import type { Lease } from "./berth/lease.ts";
import type { TenantProcess } from "./berth/tenant-process.ts";
import type { Refusal, Speaker } from "./request.ts";

/** A lease and its berth. */
export interface Tenancy {
  readonly berth: Berth;
  readonly lease: Lease;
}

export class Leases {
  readonly #byId = new Map<string, Tenancy>();
  readonly #byPid = new Map<number, readonly Lease[]>();

  add(berth: Berth, lease: Lease): void {
    this.#byId.set(lease.id, { berth, lease });
    this.#file(lease);
  }

  /** Another process is the main one of its server now. Owns `process`. */
  pass(lease: Lease, pid: number, process: TenantProcess): void {
    this.#unfile(lease);
    lease.passTo(pid, process);
    this.#file(lease);
  }

  /** Removes and closes the lease. The caller updates the berth. */
  end(lease: Lease): void {
    this.#byId.delete(lease.id);
    this.#unfile(lease);
    lease.end();
  }

  /** The lease of that id, without a check of policy. */
  get(id: string): Lease | undefined {
    return this.#byId.get(id)?.lease;
  }

  /** As {@link get}, with its berth. */
  tenancyOf(id: string): Tenancy | undefined {
    return this.#byId.get(id);
  }

  /** The lease, if the requester may act on it. The refusal is the same for another's lease and for a missing one. */
  of(id: string, who: Speaker): Tenancy | Refusal {
    const found = this.#byId.get(id);
    return found !== undefined && (who.privileged || who.holds(found.lease)) ? found : { kind: "no-lease", lease: id };
  }

  /** The leases that were given to a process of that number. */
  ofPid(pid: number): readonly Lease[] {
    return this.#byPid.get(pid) ?? [];
  }

  /** Ignores exits of tenants until {@link resume}. */
  pause(): void {
    for (const { lease } of this.#byId.values()) lease.pause();
  }

  resume(): void {
    for (const { lease } of this.#byId.values()) lease.resume();
  }

  /** The first of these processes that is a tenant: a process, then its ancestors. */
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

  #file(lease: Lease): void {
    const { pid } = lease.tenant;
    this.#byPid.set(pid, [...this.ofPid(pid), lease]);
  }

  #unfile(lease: Lease): void {
    const { pid } = lease.tenant;
    const others = this.ofPid(pid).filter((other) => other !== lease);
    if (others.length > 0) this.#byPid.set(pid, others);
    else this.#byPid.delete(pid);
  }
}
