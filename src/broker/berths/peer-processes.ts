/**
 * The processes of peers that took a berth last. The kernel names the same process for a connection, however often it
 * is asked (SO_PEERPIDFD), so further leases over it share one pidfd and one watch. It decides nothing.
 */
import { isScarcity } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { TenantProcess } from "./berth/tenant-process.ts";
import type { Applicant } from "./request.ts";

/** So many descriptors, at most, are open for peers that have no lease now. */
const MOST_KEPT = 8;

/** Gives a pidfd of always the same process, or none if that cannot be seen. Throws when no descriptor is left. */
type Process = Pick<Applicant, "pidfd">;

export class PeerProcesses {
  readonly #sys: Native;
  readonly #kept = new Map<Process, TenantProcess>();

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /**
   * The process that is to get a lease, which closes this share of it. Undefined where that process has exited or
   * cannot be seen. Throws when no descriptor is left.
   */
  of({ tenant, peer }: { readonly tenant?: Process; readonly peer: Process }): TenantProcess | undefined {
    return tenant === undefined ? this.#ofPeer(peer) : this.#watch(tenant);
  }

  #ofPeer(peer: Process): TenantProcess | undefined {
    const known = this.#kept.get(peer);
    if (known?.isWatched === true) return known.share();
    this.forget(peer);
    const process = this.#watch(peer);
    if (process === undefined) return undefined;
    for (const [oldest] of this.#kept) if (this.#kept.size >= MOST_KEPT) this.forget(oldest);
    this.#kept.set(peer, process);
    return process.share();
  }

  /** The peer's connection is closed. Its leases keep their shares. */
  forget(peer: Process): void {
    this.#kept.get(peer)?.close();
    this.#kept.delete(peer);
  }

  #watch(applicant: Process): TenantProcess | undefined {
    const pidfd = this.#pidfdOf(applicant);
    return pidfd && TenantProcess.watch(pidfd, this.#sys);
  }

  /** Where no descriptor is left, those that are only kept make room. */
  #pidfdOf(applicant: Process): FdHandle | undefined {
    try {
      return applicant.pidfd();
    } catch (error) {
      if (!isScarcity(error) || this.#kept.size === 0) throw error;
      for (const [kept] of this.#kept) this.forget(kept);
      return applicant.pidfd();
    }
  }
}
