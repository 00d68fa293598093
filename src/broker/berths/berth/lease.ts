/**
 * A tenant's hold on a berth. It ends when the tenant releases it, or with its server. The server's main process is the
 * one that took the berth, until that exits: then its pidfd is readable (pidfd_open(2)), and the lease may pass to
 * another process of the server (main-process.ts).
 */
import { fstatSync } from "node:fs";
import { constants } from "node:os";
import type { ServerSpec } from "../../../config/keys/spec.ts";
import type { DrainFacts } from "../../record/lease-facts.ts";
import { KnownIdentities, processIdentity } from "../../record/process-identity.ts";
import type { StoredCopy } from "../../record/stored-copy.ts";
import { ownGroup } from "../../sockets/control-group.ts";
import type { JoinsView } from "./berth-view.ts";
import { leaseId } from "./lease-id.ts";
import type { TenantProcess } from "./tenant-process.ts";
import type { TenantWatchdog } from "./tenant-watchdog.ts";

const { ESRCH } = constants.errno;

/** A peer that takes a berth again and again is asked for once. */
const identities = new KnownIdentities();

/** The holder, as the kernel reported it at connect. */
export interface Tenant {
  readonly pid: number;
  readonly uid: number;
  readonly unit: string | undefined;
  /** Its network namespace when it took the berth. */
  readonly network?: number | undefined;
  /** Its control group, if it had that for itself when it took the berth. */
  readonly cgroup?: string | undefined;
}

/** How many play, as the server says. `at`: microseconds since 1970. */
export interface SaidPlayers {
  readonly count: number;
  readonly max?: number;
  readonly at: number;
}

/** A lease that an earlier broker granted. */
export interface FormerLease {
  readonly id: string;
  readonly since?: number | undefined;
}

/** Where a lease comes from. */
export interface LeaseOrigin {
  /** It was an earlier broker's. */
  readonly former?: FormerLease;
  /** The peer that asked for it, if the pidfd is its own. */
  readonly who?: object;
}

/** What there is to know of a process that asks for the berth of such a server. */
export function tenantOf(
  who: Omit<Tenant, "cgroup"> & { readonly controlGroups?: string },
  { lease, deliver }: Pick<ServerSpec, "lease" | "deliver">,
): Tenant {
  const { pid, uid, unit } = who;
  const cgroup = lease === "server" ? ownGroup(pid, who.controlGroups) : undefined;
  // Only binds of servers depend on it.
  const network = deliver.includes("bind") ? who.network : undefined;
  return { pid, uid, unit, network, cgroup };
}

/** Whether processes of a server live, besides its main process; "unknown" where only a look at all processes tells. */
export type Others = "some" | "none" | "unknown";

export class Lease {
  /** Random and unique, but no secret: it gives no rights. */
  readonly id: string;
  #tenant: Tenant;
  /** When it was granted, in microseconds since 1970. Undefined if an earlier broker did that and did not note it. */
  readonly since: number | undefined;
  /** The tenant has reported READY. */
  ready = false;
  /** The configuration has changed since the tenant took the berth. */
  outdated = false;
  /** With it: addresses that the tenant has and the berth has no longer. */
  older: readonly string[] = [];
  /** Its copy in a store. */
  storedCopy: StoredCopy | undefined;
  /** The tenant's status text, sd_notify(3). */
  status: string | undefined;
  /** Who plays, in the server's own words: X_BERTHD_PLAYERS of sd_notify(3). */
  said: SaidPlayers | undefined;
  /** Set while its server is to end. */
  drain: DrainFacts | undefined;
  /** With it: what becomes of new joins, unless they go on as ever. */
  joins: JoinsView | undefined;
  /** Speak has asked for the end of its server, and that has not failed. */
  endAsked = false;
  /** Set while the tenant must send WATCHDOG=1. */
  watchdog: TenantWatchdog | undefined;
  /** Without it, the lease ends with the main process. */
  others: (() => Others) | undefined;
  readonly #onExit: () => void;
  /** Who asked for it. */
  #who: object | undefined;
  /** The main process. Undefined once the lease has ended. */
  #process: TenantProcess | undefined;
  #identity: string | undefined;

  /** Owns `process`. `onExit` is called when a main process exits before the lease has ended. */
  constructor(tenant: Tenant, process: TenantProcess, onExit: () => void, { former, who }: LeaseOrigin = {}) {
    this.id = former?.id ?? leaseId();
    this.since = former === undefined ? Date.now() * 1000 : former.since;
    this.#tenant = tenant;
    this.#onExit = onExit;
    this.#process = process;
    this.#who = who;
    process.onExit = onExit;
  }

  /** The main process, and who took the berth. */
  get tenant(): Tenant {
    return this.#tenant;
  }

  /** Whether its main process is known to live. */
  get hasMain(): boolean {
    return this.#process?.isWatched === true;
  }

  /** Another process is the main one now. Owns it. The copy in a store is of the former one: it is dropped. */
  passTo(pid: number, process: TenantProcess): void {
    this.storedCopy?.drop();
    this.storedCopy = undefined;
    this.#process?.close();
    this.#tenant = { ...this.#tenant, pid };
    this.#process = process;
    this.#identity = undefined;
    this.#who = undefined;
    process.onExit = this.#onExit;
  }

  /** Identifies the main process in a record; undefined when the lease has ended, or that process has. */
  get processIdentity(): string | undefined {
    const { pidfd } = this;
    if (pidfd === undefined) return undefined;
    if (this.#identity !== undefined) return this.#identity;
    if (this.#who !== undefined) this.#identity = identities.get(this.#who);
    if (this.#identity !== undefined) return this.#identity;
    const found = processIdentity(this.#tenant.pid, pidfd);
    // If it lives after its number was looked at, the number was its own.
    if (this.#process?.lives === true) this.#identity = found;
    if (this.#who !== undefined && this.#identity !== undefined) identities.note(this.#who, this.#identity, pidfd);
    return this.#identity;
  }

  get ended(): boolean {
    return this.#process === undefined;
  }

  /** Sends a signal to the tenant, never to a later process with its pid. Returns 0 or -errno. */
  signal(number: number): number {
    return this.#process?.signal(number) ?? -ESRCH;
  }

  /** Whether a pidfd is the tenant's. Before Linux 6.9 pidfds have no inodes of their own: then any matches. */
  isOf(pidfd: number): boolean {
    return this.pidfd !== undefined && fstatSync(this.pidfd).ino === fstatSync(pidfd).ino;
  }

  /** The tenant's pidfd, borrowed; undefined when the lease has ended. */
  get pidfd(): number | undefined {
    return this.#process?.pidfd;
  }

  /** Its main process, for another holder, who closes it; undefined when the lease has ended. */
  shareProcess(): TenantProcess | undefined {
    return this.#process?.share();
  }

  /** Ignores the tenant's exit and its watchdog until {@link resume}. */
  pause(): void {
    this.#process?.pause();
    this.watchdog?.pause();
  }

  resume(): void {
    this.#process?.resume();
    this.watchdog?.alive();
  }

  /** Watches for the tenant's exit no more. The caller owns its process from now on, and has to call {@link end}. */
  stealProcess(): TenantProcess | undefined {
    const process = this.#process;
    this.#process = undefined;
    if (process !== undefined) process.onExit = undefined;
    return process;
  }

  /** Closes the pidfd and drops the copy. Idempotent. */
  end(): void {
    this.watchdog?.close();
    this.storedCopy?.drop();
    this.storedCopy = undefined;
    this.stealProcess()?.close();
  }
}
