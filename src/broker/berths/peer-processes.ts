/**
 * The processes of peers that took a berth last. The kernel names the same process for a connection, however often it
 * is asked (SO_PEERPIDFD), so further leases over it share one pidfd and one watch. It decides nothing.
 */
import { isScarcity } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { TenantProcess } from "./berth/tenant-process.ts";
import type { Applicant } from "./request.ts";

/** The most processes that are kept. Each costs a descriptor, also while the peer has no lease. */
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
    let process = this.#kept.get(peer);
    if (process?.isWatched !== true) {
      this.forget(peer);
      process = this.#watch(peer);
    }
    if (process === undefined) return undefined;
    // It becomes the latest one.
    this.#kept.delete(peer);
    this.#kept.set(peer, process);
    const [earliest] = this.#kept.keys();
    if (earliest !== undefined && this.#kept.size > MOST_KEPT) this.forget(earliest);
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
