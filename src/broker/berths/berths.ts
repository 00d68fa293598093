/**
 * All berths of a broker, and the operations on them: acquire, hand over, stash, release, and the end of a lease when
 * its tenant exits. Refusals are return values. It knows nothing of connections or of the wire.
 */
import type { TenantSpec } from "../../config/keys/spec.ts";
import type { Problem } from "../../config/toml/problem.ts";
import type { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { RootFacts } from "../../rootfs/roots/root.ts";
import type { Quota } from "../access/limits/quota.ts";
import type { LeaseFacts } from "../record/lease-facts.ts";
import { inodesOf } from "../sockets/passed-socket.ts";
import type { SocketFailure } from "../sockets/socket-failure.ts";
import type { SocketSources } from "../sockets/socket-set.ts";
import { type Berth, leaseView } from "./berth/berth.ts";
import type { BerthEvents } from "./berth/berth-events.ts";
import type { BerthEvent } from "./berth/berth-view.ts";
import { Lease, type LeaseOrigin, type Tenant, tenantOf } from "./berth/lease.ts";
import { TenantProcess } from "./berth/tenant-process.ts";
import type { BerthRoots } from "./berth-roots.ts";
import { Leases } from "./leases.ts";
import { MainProcesses } from "./main-process.ts";
import { PeerProcesses } from "./peer-processes.ts";
import { type ApplyOptions, type Arrangement, Registry } from "./registry.ts";
import type { Repairs } from "./repairs/repairs.ts";
import { Reports } from "./reports/reports.ts";
import { Statuses } from "./reports/statuses.ts";
import type { Granted, Refusal, Replace, Requester, Speaker, Waiting } from "./request.ts";
import { giveSockets } from "./socket-user.ts";
import { Stashes } from "./stashes.ts";
import { Visibility } from "./visibility.ts";

export interface BerthsOptions {
  readonly sys: Native;
  readonly log: Log;
  readonly quota: Quota;
  readonly roots: BerthRoots;
  readonly events: BerthEvents;
  readonly repairs: Repairs;
  /** Who may see every berth and report its players. */
  readonly observers?: TenantSpec | undefined;
  /** As {@link SocketSources.awaitClosed}. */
  readonly awaitClosed: SocketSources["awaitClosed"];
}

export class Berths {
  readonly #registry: Registry;
  readonly #options: BerthsOptions;
  /** The leases and stashes of all berths. */
  readonly leases: Leases = new Leases();
  readonly stashes: Stashes;
  readonly visibility: Visibility;
  readonly reports: Reports;
  readonly statuses: Statuses;
  readonly mains: MainProcesses;
  readonly processes: PeerProcesses;

  constructor(options: BerthsOptions) {
    this.#options = options;
    this.stashes = new Stashes(options.quota, options.sys);
    this.processes = new PeerProcesses(options.sys);
    this.visibility = new Visibility(options.observers);
    this.reports = new Reports(options.events);
    this.statuses = new Statuses(options.events);
    const { leases, stashes } = this;
    this.#registry = new Registry({ ...options, leases, stashes });
    this.mains = new MainProcesses({ ...options, leases, end: (berth, lease, why) => this.#end(berth, lease, why) });
  }

  /** Sorted by name. */
  list(): Berth[] {
    return this.#registry.list();
  }

  /** Also those that are no longer configured, while they have a tenant. */
  all(): Berth[] {
    return this.#registry.all();
  }

  /** The inodes of all sockets that the broker has for berths. */
  inodes(): bigint[] {
    return inodesOf(this.all());
  }

  /** After all leases of an earlier broker were restored. */
  settleAbsent(): void {
    this.#registry.settleAbsent();
  }

  get size(): number {
    return this.#registry.size;
  }

  /** Replaces the configuration of all berths. Returns problems that are not tolerated: then nothing has changed. */
  apply(arrangement: Arrangement, options: ApplyOptions = {}): Problem[] {
    const problems = this.#registry.apply(arrangement, options);
    if (problems.length > 0) return problems;
    this.visibility.update(this.list().map(({ spec }) => spec));
    return [];
  }

  /** Berths with sockets that may be opened later, and why they are missing. */
  get failures(): Registry["failures"] {
    return this.#registry.failures;
  }

  /** Tries again to open what a berth lacks. Returns what still fails. */
  recover(berth: Berth): readonly SocketFailure[] {
    return this.#registry.recover(berth);
  }

  /** The berth if the requester may take it. The refusal is the same whether the berth is missing or forbidden. */
  find(name: string, who: Requester): Berth | Refusal {
    const berth = this.#registry.get(name);
    if (!who.privileged && !this.visibility.mayTake(berth, who.peer)) return { kind: "denied", berth: name };
    if (berth === undefined) return { kind: "absent", berth: name };
    const { problems } = berth;
    return problems.length === 0 ? berth : { kind: "problem", berth: name, problems };
  }

  /** Gives the berth to the process that asks. A tenant that asks again gets the lease that it has. */
  acquire(name: string, who: Requester, replace: Replace): Granted | Waiting | Refusal {
    const berth = this.find(name, who);
    if ("kind" in berth) return berth;
    const { roots, repairs } = this.#options;
    for (const lease of [berth.lease, berth.incoming]) {
      if (lease === undefined || !who.holds(lease)) continue;
      lease.outdated = false; // it gets all that is new
      lease.older = [];
      return roots.ensure(berth) ?? { kind: "granted", berth, lease };
    }
    if (berth.lease === undefined && replace === "must") return { kind: "vacant", berth: name };
    const inTheWay = berth.incoming ?? (replace === "no" ? berth.lease : undefined);
    if (inTheWay !== undefined) return { kind: "occupied", berth: name, lease: leaseView(inTheWay) };
    const until = berth.lease === undefined ? repairs.pending(berth) : undefined;
    if (until !== undefined) return { kind: "waiting", berth: name, until };
    try {
      return roots.ensure(berth) ?? this.#grant(berth, who);
    } finally {
      roots.dropIdle(berth);
    }
  }

  /** Ends a lease for its tenant, for root, or for the broker's user. */
  release(id: string, who: Speaker): Refusal | undefined {
    const found = this.leases.of(id, who);
    if ("kind" in found) return found;
    const by = who.holds(found.lease) ? "the tenant" : "root or the broker's user";
    this.#end(found.berth, found.lease, `${by} released it`);
    return undefined;
  }

  /** The tenant is ready. This completes a handover, and drops its predecessors' stashes unless they are kept. */
  ready(id: string, who: Speaker, predecessors: "drop" | "keep" = "drop"): Refusal | undefined {
    const found = this.leases.of(id, who);
    if ("kind" in found) return found;
    const { berth, lease } = found;
    lease.ready = true;
    // A newcomer's stashes are for its own successor, even if its predecessor reports READY again.
    if (predecessors === "drop")
      this.stashes.dropOthers(berth, [id, lease === berth.lease ? berth.incoming?.id : undefined]);
    const outgoing = berth.lease;
    if (berth.incoming === lease && outgoing !== undefined) {
      berth.incoming = undefined;
      berth.lease = lease;
      giveSockets(berth);
      this.leases.end(outgoing);
      const { pid } = lease.tenant;
      const message = `berth ${berth.name}: handed over from pid ${outgoing.tenant.pid} to pid ${pid}`;
      this.#options.log("info", message, { event: "handover-complete", berth: berth.name, pid });
    }
    this.#emit("ready", berth);
    return undefined;
  }

  /** Keeps a duplicate of `handle` in the berth for the tenant's successor. */
  stash(id: string, name: string, handle: FdHandle, who: Speaker): Refusal | undefined {
    const found = this.leases.of(id, who);
    if ("kind" in found) return found;
    const { berth, lease } = found;
    const refused = this.stashes.put(berth, lease, name, handle);
    if (refused !== undefined) return refused;
    this.#emit("changed", berth);
    return undefined;
  }

  /** Closes a stashed descriptor of the tenant's berth, even if another tenant left it. */
  unstash(id: string, name: string, who: Speaker): Refusal | undefined {
    const found = this.leases.of(id, who);
    if ("kind" in found) return found;
    if (!found.berth.stash.has(name)) return undefined;
    this.stashes.drop(found.berth, name);
    this.#emit("changed", found.berth);
    return undefined;
  }

  /** Closes everything. Tenants keep what they have. */
  close(left: (berth: Berth) => boolean = () => false): void {
    this.reports.close();
    this.statuses.close();
    for (const berth of this.#registry.all()) {
      // Keep the path of a socket that a tenant still serves on: without it, nobody can connect.
      for (const { socket } of berth.sockets) left(berth) ? socket.leave() : socket.retire();
      for (const { handle } of berth.aside) handle.close();
      for (const lease of [berth.lease, berth.incoming]) if (lease !== undefined) this.leases.end(lease);
      this.stashes.clear(berth);
      this.#options.roots.release(berth, { next: false });
    }
    this.#registry.clear();
  }

  /** Restores a lease of an earlier broker, and owns the pidfd; undefined when there is no such berth. */
  restore(name: string, id: string, pidfd: FdHandle, facts: LeaseFacts): Lease | undefined {
    const berth = this.#registry.known(name);
    if (berth === undefined || berth.incoming !== undefined) return undefined;
    const { ready, incoming: _, since, drain, ...tenant } = facts;
    const lease = this.#begin(berth, tenant, TenantProcess.watch(pidfd, this.#options.sys), { former: { id, since } });
    lease.ready = ready;
    lease.drain = drain;
    berth.generation++;
    return lease;
  }

  /** Restores the root of a berth with tenants, and owns the mount; undefined when there are no tenants. */
  restoreRoot(name: string, mount: FdHandle, facts: RootFacts): Berth | undefined {
    const berth = this.#registry.known(name);
    if (berth?.lease === undefined || berth.root !== undefined) return undefined;
    this.#options.roots.adopt(berth, mount, facts);
    return berth;
  }

  /** The berth of that name, without a check of policy. */
  get(name: string): Berth | undefined {
    return this.#registry.get(name);
  }

  /** As {@link get}; also one that is no longer configured. */
  known(name: string): Berth | undefined {
    return this.#registry.known(name);
  }

  #grant(berth: Berth, who: Requester): Granted | Refusal {
    const process = this.processes.of(who);
    const tenant = tenantOf(who.tenant ?? who.peer, berth.spec.server);
    if (process?.lives !== true) {
      // The process has exited, or is in a PID namespace where the broker could not see it exit.
      process?.close();
      return { kind: "denied", berth: berth.name };
    }
    const event = berth.lease === undefined ? "acquired" : "handover";
    const lease = this.#begin(berth, tenant, process, who.tenant === undefined ? { who: who.peer } : {});
    const how = event === "acquired" ? "taken" : "to be taken over";
    const { pid, uid, unit } = tenant;
    const message = `berth ${berth.name}: ${how} by pid ${pid} (uid ${uid})`;
    this.#options.log("info", message, { event, berth: berth.name, lease: lease.id, pid, uid, unit });
    this.#emit(event, berth);
    return { kind: "granted", berth, lease };
  }

  /** Begins a lease: the present one if the berth has none, else the incoming one of a handover. Owns `process`. */
  #begin(berth: Berth, tenant: Tenant, process: TenantProcess, origin: LeaseOrigin): Lease {
    const onExit = (): void => this.mains.update(berth, lease);
    const lease = new Lease(tenant, process, onExit, origin);
    const { lease: span, deliver } = berth.spec.server;
    const mayHave = tenant.cgroup !== undefined || (origin.former !== undefined && deliver.includes("bind"));
    if (span === "server" && mayHave) lease.others = () => "unknown";
    if (berth.lease === undefined) {
      berth.lease = lease;
      giveSockets(berth);
    } else berth.incoming = lease;
    this.leases.add(berth, lease);
    return lease;
  }

  #end(berth: Berth, lease: Lease, why: string): void {
    if (berth.lease === lease && berth.incoming === undefined) this.#options.repairs.afterLease(berth, lease);
    this.leases.end(lease);
    if (berth.incoming === lease) berth.incoming = undefined;
    else if (berth.lease === lease) {
      berth.lease = berth.incoming;
      berth.incoming = undefined;
      giveSockets(berth);
    }
    this.#options.log("info", `berth ${berth.name}: pid ${lease.tenant.pid} no longer has it: ${why}`, {
      event: "released",
      berth: berth.name,
      lease: lease.id,
      pid: lease.tenant.pid,
    });
    if (berth.lease === undefined && this.#registry.discard(berth)) return;
    this.#options.roots.dropIdle(berth);
    this.#emit("released", berth);
  }

  #emit(event: BerthEvent, berth: Berth): void {
    berth.generation++;
    this.#options.events.change(event, berth);
  }
}
