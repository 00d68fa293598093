/**
 * Puts descriptors into stashes: only allowed kinds, up to the limits, charged to the user who leaves them. It does not
 * check who may act on a lease, and reports no events.
 */
import type { FdHandle } from "../../fd.ts";
import { MAX_FDS, type Native } from "../../native.ts";
import { describeUser, type Quota } from "../access/limits/quota.ts";
import type { StoredStash } from "../record/stored-name.ts";
import type { Berth } from "./berth/berth.ts";
import type { Lease } from "./berth/lease.ts";
import { type Stashed, unkeepable, unsuitable } from "./berth/stash.ts";
import type { Refusal } from "./request.ts";

// The most descriptors of a berth: one message carries all of them, a plan and a root (hazard 1).
const MAX_DESCRIPTORS = MAX_FDS - 2;

export class Stashes {
  readonly #quota: Quota;
  readonly #sys: Native;

  constructor(quota: Quota, sys: Native) {
    this.#quota = quota;
    this.#sys = sys;
  }

  /** Stashes a descriptor, and replaces one of the same name. Owns the handle if it succeeds. */
  put(berth: Berth, lease: Pick<Lease, "id" | "tenant">, name: string, handle: FdHandle): Refusal | undefined {
    const wrong = unsuitable(handle.fd, this.#sys);
    if (wrong !== undefined) return { kind: "unsuitable", name, message: `${name} cannot be stashed: ${wrong}` };
    const { uid } = lease.tenant;
    const account = this.#quota.accountOf(uid);
    const known = berth.stash.get(name);
    if (known === undefined && berth.size >= MAX_DESCRIPTORS) {
      return { kind: "limit", limit: "stash", message: `a berth holds at most ${MAX_DESCRIPTORS} descriptors` };
    }
    if (known?.account !== account && !this.#quota.charge("stash", account)) {
      const message = `${describeUser(uid, account)} has ${this.#quota.limits.stash} descriptors stashed already`;
      return { kind: "limit", limit: "stash", message };
    }
    if (known?.account === account) dispose(known);
    else this.drop(berth, name);
    berth.putStashed({ name, handle: handle.move(), lease: lease.id, uid, account });
    return undefined;
  }

  /**
   * Restores a descriptor of an earlier broker. Undefined if there is no place for it, or it may not be kept. Owns the
   * handle if it succeeds.
   */
  restore(berth: Berth, { name, lease, uid }: StoredStash, handle: FdHandle): Stashed | undefined {
    if (berth.size >= MAX_DESCRIPTORS || berth.stash.has(name)) return undefined;
    if (unkeepable(handle.fd, this.#sys) !== undefined) return undefined;
    const account = this.#quota.accountOf(uid);
    if (!this.#quota.charge("stash", account)) return undefined;
    const stashed: Stashed = { name, handle, lease, uid, account };
    berth.putStashed(stashed);
    berth.generation++;
    return stashed;
  }

  /** Closes the descriptor of that name, if there is one. */
  drop(berth: Berth, name: string): void {
    const stashed = berth.stash.get(name);
    if (stashed === undefined) return;
    berth.forgetStashed(name);
    dispose(stashed);
    this.#quota.refund("stash", stashed.account);
    berth.generation++;
  }

  /** Drops what tenants other than these leases' left in a berth. */
  dropOthers(berth: Berth, leases: readonly (string | undefined)[]): void {
    for (const { name, lease } of [...berth.stash.values()]) if (!leases.includes(lease)) this.drop(berth, name);
  }

  clear(berth: Berth): void {
    for (const name of [...berth.stash.keys()]) this.drop(berth, name);
  }
}

function dispose(stashed: Stashed): void {
  stashed.storedCopy?.drop();
  stashed.handle.close();
  stashed.kept?.drop();
}
