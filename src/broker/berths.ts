/**
 * All berths of a broker and what may happen to them: taken, handed over, stashed into, given back, lost with their
 * tenant's death. Every refusal is a value; nothing here knows of connections or of the wire.
 */
import type { BerthSpec, Problem } from "../config/spec.ts";
import type { FdHandle } from "../fd.ts";
import { MAX_FDS, type Native } from "../native.ts";
import type { RootFacts } from "../rootfs/root.ts";
import { POLLIN } from "../socket-constants.ts";
import { Berth, type LeaseView, leaseView } from "./berth.ts";
import type { BerthRoots } from "./berth-roots.ts";
import { Lease } from "./lease.ts";
import type { LeaseFacts } from "./lease-facts.ts";
import type { Log } from "./log.ts";
import type { OfferedSocket } from "./offered-socket.ts";
import type { Peer } from "./peer.ts";
import { mayTake } from "./policy.ts";
import type { Quota } from "./quota.ts";
import { openSockets } from "./socket-set.ts";
import { type Stashed, unsuitable } from "./stash.ts";
import type { StoredStash } from "./stored-name.ts";

/** What a Watch reports. */
export type BerthEvent =
  | "present"
  | "added"
  | "changed"
  | "removed"
  | "acquired"
  | "ready"
  | "handover"
  | "released"
  | "repaired"
  | "starting"
  | "failed"
  | "stopping"
  | "status";

/** Why a request was not granted. */
export type Refusal =
  | { readonly kind: "absent"; readonly berth: string }
  | { readonly kind: "denied"; readonly berth: string }
  | { readonly kind: "occupied"; readonly berth: string; readonly lease: LeaseView }
  | { readonly kind: "vacant"; readonly berth: string }
  | { readonly kind: "no-lease"; readonly lease: string }
  | { readonly kind: "limit"; readonly limit: string; readonly message: string }
  | { readonly kind: "unsuitable"; readonly name: string; readonly message: string }
  | { readonly kind: "no-root"; readonly berth: string; readonly message: string };

/** Not now: to be asked again when this has resolved, unless it resolved with why that would be in vain. */
export interface Waiting {
  readonly kind: "waiting";
  readonly berth: string;
  readonly until: Promise<string | undefined>;
}

/** Who speaks for a lease. */
export interface Speaker {
  /** Root or the broker's own user. */
  readonly privileged: boolean;
  /** Whether it is the very process that holds this lease. */
  holds(lease: Lease): boolean;
}

/** Who asks. */
export interface Requester extends Speaker {
  readonly peer: Peer;
}

export type Replace = "no" | "try" | "must";

export interface Granted {
  readonly kind: "granted";
  readonly berth: Berth;
  readonly lease: Lease;
}

export interface BerthsOptions {
  readonly sys: Native;
  readonly log: Log;
  readonly quota: Quota;
  readonly roots: BerthRoots;
  readonly onEvent: (event: BerthEvent, berth: Berth) => void;
  /** Waits until the addresses of sockets closed before are free. */
  readonly settle: () => void;
}

// The most descriptors of a berth: one message carries them all, with a plan and a root (hazard 1).
const MAX_DESCRIPTORS = MAX_FDS - 2;

export class Berths {
  readonly #byName = new Map<string, Berth>();
  readonly #byLease = new Map<string, Berth>();
  readonly #options: BerthsOptions;
  #asksGroups = false;
  #asksUnits = false;

  constructor(options: BerthsOptions) {
    this.#options = options;
  }

  /** In the order of their names. */
  list(): Berth[] {
    return [...this.#byName.values()];
  }

  get size(): number {
    return this.#byName.size;
  }

  /**
   * Makes the berths those of `specs`: all of it, or with the problems returned nothing of it. Of the sockets offered,
   * which are taken over, `onDeclined` is given those that no berth wants.
   */
  apply(
    specs: readonly BerthSpec[],
    offered: readonly OfferedSocket[] = [],
    onDeclined: (offer: OfferedSocket) => void = () => undefined,
  ): Problem[] {
    const { sys, log, roots, onEvent, settle } = this.#options;
    const rootless = roots.problems(specs);
    if (rootless.length > 0) return rootless;
    const set = openSockets(specs, { present: this.#byName.values(), offered, sys, settle });
    if (Array.isArray(set)) {
      // A socket that was closed for another and opened again may have another number: no answer made before holds.
      for (const berth of this.#byName.values()) berth.generation++;
      return set;
    }
    const before = new Map(this.#byName);
    this.#byName.clear();
    for (const spec of specs) {
      const sockets = set.byBerth.get(spec.name) ?? [];
      const known = before.get(spec.name);
      before.delete(spec.name);
      const berth = known ?? new Berth(spec, sockets);
      berth.range = roots.rangeOf(spec);
      this.#byName.set(spec.name, berth);
      if (known === undefined) onEvent("added", berth);
      else this.#change(berth, spec, sockets);
    }
    for (const berth of before.values()) this.#remove(berth);
    for (const socket of set.unwanted) socket.close();
    for (const offer of set.declined) onDeclined(offer);
    this.#asksGroups = specs.some(({ tenant }) => tenant.gids.length > 0);
    this.#asksUnits = specs.some(({ tenant }) => tenant.units.length > 0);
    log("debug", `${specs.length} berths are configured`);
    return [];
  }

  /** The berth if the requester may take it. One it may not take is answered exactly as one that is not there. */
  find(name: string, who: Requester): Berth | Refusal {
    const berth = this.#byName.get(name);
    if (who.privileged) return berth ?? { kind: "absent", berth: name };
    // Whether the berth exists must not show in the time it takes either: ask for all that any policy could ask.
    if (this.#asksGroups) void who.peer.groups;
    if (this.#asksUnits) void who.peer.unit;
    return berth !== undefined && mayTake(berth.spec.tenant, who.peer) ? berth : { kind: "denied", berth: name };
  }

  /** Whether the requester may see the berth in lists and events. */
  visible(berth: Berth, who: Requester): boolean {
    return who.privileged || mayTake(berth.spec.tenant, who.peer);
  }

  /** Gives the berth to the process that asks; the tenant that has it already gets the lease it has. */
  acquire(name: string, who: Requester, replace: Replace): Granted | Waiting | Refusal {
    const berth = this.find(name, who);
    if ("kind" in berth) return berth;
    for (const lease of [berth.lease, berth.incoming]) {
      if (lease !== undefined && who.holds(lease)) return this.#ensureRoot(berth) ?? { kind: "granted", berth, lease };
    }
    if (berth.lease === undefined && replace === "must") return { kind: "vacant", berth: name };
    const inTheWay = berth.incoming ?? (replace === "no" ? berth.lease : undefined);
    if (inTheWay !== undefined) return { kind: "occupied", berth: name, lease: leaseView(inTheWay) };
    try {
      return this.#ensureRoot(berth) ?? this.#grant(berth, who);
    } finally {
      this.#dropIdleRoot(berth);
    }
  }

  /** Ends a lease at the wish of its tenant, or of root or the broker's user. */
  release(id: string, who: Speaker): Refusal | undefined {
    const found = this.leaseOf(id, who);
    if ("kind" in found) return found;
    this.#end(found.berth, found.lease, "its tenant gave it back");
    return undefined;
  }

  /** The tenant serves: a handover is complete, and what its predecessors stashed is its own now, if it is to be dropped. */
  ready(id: string, who: Speaker, predecessors: "drop" | "keep" = "drop"): Refusal | undefined {
    const found = this.leaseOf(id, who);
    if ("kind" in found) return found;
    const { berth, lease } = found;
    lease.ready = true;
    // What a newcomer stashes is for its own successor, whatever its predecessor says meanwhile.
    const kept = [id, lease === berth.lease ? berth.incoming?.id : undefined];
    if (predecessors === "drop")
      for (const stashed of berth.stash.values()) if (!kept.includes(stashed.lease)) this.#unstash(berth, stashed.name);
    const outgoing = berth.lease;
    if (berth.incoming === lease && outgoing !== undefined) {
      berth.incoming = undefined;
      berth.lease = lease;
      this.#forget(outgoing);
      this.#options.log(
        "info",
        `berth ${berth.name}: handed over from pid ${outgoing.tenant.pid} to pid ${lease.tenant.pid}`,
        {
          event: "handover-complete",
          berth: berth.name,
          pid: lease.tenant.pid,
        },
      );
    }
    this.#emit("ready", berth);
    return undefined;
  }

  /** Keeps a duplicate of `handle` in the berth for the tenant's successor. */
  stash(id: string, name: string, handle: FdHandle, who: Speaker): Refusal | undefined {
    const { sys, quota } = this.#options;
    const found = this.leaseOf(id, who);
    if ("kind" in found) return found;
    const { berth, lease } = found;
    const wrong = unsuitable(handle.fd, sys);
    if (wrong !== undefined) return { kind: "unsuitable", name, message: `${name} cannot be stashed: ${wrong}` };
    const { uid } = lease.tenant;
    const known = berth.stash.get(name);
    if (known === undefined && berth.size >= MAX_DESCRIPTORS) {
      return { kind: "limit", limit: "stash", message: `a berth holds at most ${MAX_DESCRIPTORS} descriptors` };
    }
    if (known === undefined || known.uid !== uid) {
      if (!quota.charge("stash", uid)) {
        return {
          kind: "limit",
          limit: "stash",
          message: `uid ${uid} has ${quota.limits.stash} descriptors stashed already`,
        };
      }
    } else dispose(known);
    if (known !== undefined && known.uid !== uid) this.#unstash(berth, name);
    berth.stash.set(name, { name, handle: handle.move(), lease: id, uid });
    this.#emit("changed", berth);
    return undefined;
  }

  /** Closes a descriptor in the stash of the tenant's berth, whoever left it. */
  unstash(id: string, name: string, who: Speaker): Refusal | undefined {
    const found = this.leaseOf(id, who);
    if ("kind" in found) return found;
    if (!found.berth.stash.has(name)) return undefined;
    this.#unstash(found.berth, name);
    this.#emit("changed", found.berth);
    return undefined;
  }

  /** The nearest tenant, of a process and those above it. */
  tenantAmong(pids: readonly number[]): { berth: Berth; lease: Lease } | undefined {
    let nearest: { berth: Berth; lease: Lease } | undefined;
    let distance = pids.length;
    for (const berth of this.#byLease.values()) {
      for (const lease of [berth.lease, berth.incoming]) {
        const at = lease === undefined ? -1 : pids.indexOf(lease.tenant.pid);
        if (lease === undefined || at < 0 || at >= distance) continue;
        nearest = { berth, lease };
        distance = at;
      }
    }
    return nearest;
  }

  /** Closes everything. Tenants keep what they have. */
  close(): void {
    for (const berth of this.#byName.values()) {
      for (const lease of [berth.lease, berth.incoming]) if (lease !== undefined) this.#forget(lease);
      for (const name of [...berth.stash.keys()]) this.#unstash(berth, name);
      // A path that is removed would leave the copy of its socket without an address.
      for (const { socket } of berth.sockets) socket.backup === undefined ? socket.close() : socket.leave();
      this.#options.roots.release(berth);
    }
    this.#byName.clear();
  }

  /** Gives a tenant back the lease it had of an earlier broker; undefined when there is no such berth. Takes the pidfd. */
  restore(name: string, id: string, pidfd: FdHandle, facts: LeaseFacts): Lease | undefined {
    const berth = this.#byName.get(name);
    if (berth === undefined || berth.incoming !== undefined) return undefined;
    const { pid, uid, unit, ready } = facts;
    const onDeath = (): void => this.#end(berth, lease, `pid ${pid} has exited`);
    const lease = new Lease({ pid, uid, unit }, pidfd, this.#options.sys, onDeath, id);
    lease.ready = ready;
    if (berth.lease === undefined) berth.lease = lease;
    else berth.incoming = lease;
    this.#byLease.set(id, berth);
    berth.generation++;
    return lease;
  }

  /** Gives the tenants there are the root that they had of an earlier broker; undefined when there are none. Takes the mount. */
  restoreRoot(name: string, mount: FdHandle, facts: RootFacts): Berth | undefined {
    const berth = this.#byName.get(name);
    if (berth?.lease === undefined || berth.root !== undefined) return undefined;
    this.#options.roots.adopt(berth, mount, facts);
    return berth;
  }

  /** Puts a descriptor back that a tenant had stashed under an earlier broker; undefined when there is no place for it. */
  restoreStash({ berth: name, name: stash, lease, uid }: StoredStash, handle: FdHandle): Stashed | undefined {
    const berth = this.#byName.get(name);
    if (berth === undefined || berth.size >= MAX_DESCRIPTORS || berth.stash.has(stash)) return undefined;
    if (!this.#options.quota.charge("stash", uid)) return undefined;
    const stashed: Stashed = { name: stash, handle, lease, uid };
    berth.stash.set(stash, stashed);
    berth.generation++;
    return stashed;
  }

  /** Sets right what tenants have done whose end was not seen. */
  repairVacant(): void {
    for (const berth of this.#byName.values()) if (berth.lease === undefined) this.#repair(berth);
  }

  /** The lease of that id, whoever asks. */
  leaseOfId(id: string): Lease | undefined {
    const berth = this.#byLease.get(id);
    return berth?.lease?.id === id ? berth.lease : berth?.incoming;
  }

  /** The berth of that name, whoever asks. */
  get(name: string): Berth | undefined {
    return this.#byName.get(name);
  }

  /** Builds what is missing; why there is none, if there is none. */
  #ensureRoot(berth: Berth): Waiting | Refusal | undefined {
    const missing = this.#options.roots.ensure(berth);
    if (missing === undefined) return undefined;
    if ("until" in missing) return { kind: "waiting", berth: berth.name, until: missing.until };
    return { kind: "no-root", berth: berth.name, message: missing.problem };
  }

  /** A root is its tenants': with the last of them it goes. */
  #dropIdleRoot(berth: Berth): void {
    if (berth.lease === undefined && berth.incoming === undefined) this.#options.roots.release(berth);
  }

  #grant(berth: Berth, who: Requester): Granted | Refusal {
    const { sys, log } = this.#options;
    const { peer } = who;
    const pidfd = peer.pidfd();
    if (pidfd === undefined || sys.pollNow(pidfd.fd, POLLIN) !== 0) {
      // Nobody is left who could hold it; or it is in a PID namespace where its end could not be seen.
      pidfd?.close();
      return { kind: "denied", berth: berth.name };
    }
    const tenant = { pid: peer.pid, uid: peer.uid, unit: peer.unit };
    const lease = new Lease(tenant, pidfd, sys, () => this.#end(berth, lease, `pid ${peer.pid} has exited`));
    const event = berth.lease === undefined ? "acquired" : "handover";
    if (event === "acquired") berth.lease = lease;
    else berth.incoming = lease;
    this.#byLease.set(lease.id, berth);
    log(
      "info",
      `berth ${berth.name}: ${event === "acquired" ? "taken" : "to be taken over"} by pid ${tenant.pid} (uid ${tenant.uid})`,
      {
        event,
        berth: berth.name,
        lease: lease.id,
        ...tenant,
      },
    );
    this.#emit(event, berth);
    return { kind: "granted", berth, lease };
  }

  /** The lease if the requester may speak for it; another's lease is answered as one that is not there. */
  leaseOf(id: string, who: Speaker): { berth: Berth; lease: Lease } | Refusal {
    const berth = this.#byLease.get(id);
    const lease = this.leaseOfId(id);
    if (berth === undefined || lease === undefined || !(who.privileged || who.holds(lease))) {
      return { kind: "no-lease", lease: id };
    }
    return { berth, lease };
  }

  #end(berth: Berth, lease: Lease, why: string): void {
    this.#forget(lease);
    if (berth.incoming === lease) berth.incoming = undefined;
    else if (berth.lease === lease) {
      berth.lease = berth.incoming;
      berth.incoming = undefined;
    }
    this.#options.log("info", `berth ${berth.name}: free of pid ${lease.tenant.pid}, for ${why}`, {
      event: "released",
      berth: berth.name,
      lease: lease.id,
      pid: lease.tenant.pid,
    });
    if (berth.lease === undefined) this.#repair(berth);
    this.#dropIdleRoot(berth);
    this.#emit("released", berth);
  }

  #forget(lease: Lease): void {
    this.#byLease.delete(lease.id);
    lease.end();
  }

  #repair(berth: Berth): void {
    for (const { name, socket } of berth.sockets) {
      for (const found of socket.repair()) {
        this.#options.log("warning", `berth ${berth.name}: socket ${name} ${found}`, {
          event: "repaired",
          berth: berth.name,
          socket: name,
        });
        this.#emit("repaired", berth);
      }
    }
  }

  #unstash(berth: Berth, name: string): void {
    const stashed = berth.stash.get(name);
    if (stashed === undefined) return;
    berth.stash.delete(name);
    dispose(stashed);
    this.#options.quota.refund("stash", stashed.uid);
    berth.generation++;
  }

  #change(berth: Berth, spec: BerthSpec, sockets: Berth["sockets"]): void {
    const moved =
      sockets.length !== berth.sockets.length || sockets.some(({ socket }, at) => berth.sockets[at]?.socket !== socket);
    const changed = moved || meaning(berth.spec) !== meaning(spec);
    berth.spec = spec;
    berth.sockets = sockets;
    berth.generation++;
    if (moved && berth.lease !== undefined) {
      this.#options.log(
        "notice",
        `berth ${berth.name}: its sockets changed; pid ${berth.lease.tenant.pid} keeps those it has until it asks again`,
        {
          event: "changed",
          berth: berth.name,
        },
      );
    }
    if (changed) this.#emit("changed", berth);
  }

  #remove(berth: Berth): void {
    for (const lease of [berth.lease, berth.incoming]) if (lease !== undefined) this.#forget(lease);
    berth.lease = undefined;
    berth.incoming = undefined;
    this.#dropIdleRoot(berth);
    for (const name of [...berth.stash.keys()]) this.#unstash(berth, name);
    this.#options.log("info", `berth ${berth.name}: no longer configured`, { event: "removed", berth: berth.name });
    this.#options.onEvent("removed", berth);
    berth.generation++;
  }

  #emit(event: BerthEvent, berth: Berth): void {
    berth.generation++;
    this.#options.onEvent(event, berth);
  }
}

function dispose(stashed: Stashed): void {
  stashed.backup?.drop();
  stashed.handle.close();
}

/** A spec without where its values were written: two are the same configuration when this is the same. */
function meaning(spec: BerthSpec): string {
  return JSON.stringify(spec, (key, value) => (key === "origin" ? undefined : value));
}
