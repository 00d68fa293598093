/** Decides who may take a berth. Pure. */
import type { TenantSpec } from "../../config/keys/spec.ts";

/** What a policy may check. Groups and unit are looked up only when needed. */
export interface PeerFacts {
  readonly uid: number;
  readonly groups: readonly number[];
  readonly unit: string | undefined;
}

/** Root and the broker's own user may take every berth, end every lease, and see everything. */
export function isPrivileged(uid: number, brokerUid: number): boolean {
  return uid === 0 || uid === brokerUid;
}

/** Whether the section names the peer: a berth's `[tenant]`, who may take it, or its `[observer]`, who may see it. */
export function isNamed(tenant: TenantSpec, peer: PeerFacts): boolean {
  if (tenant.uids.includes(peer.uid)) return true;
  if (tenant.gids.length > 0 && peer.groups.some((gid) => tenant.gids.includes(gid))) return true;
  if (tenant.units.length === 0) return false;
  const { unit } = peer;
  return unit !== undefined && tenant.units.some((pattern) => matchesGlob(unit, pattern));
}

/** Shell matching of `*` and `?`. The time is at most proportional to the product of the lengths. */
export function matchesGlob(text: string, pattern: string): boolean {
  let at = 0;
  let star = -1;
  let resume = 0;
  let index = 0;
  while (index < text.length) {
    if (pattern[at] === "?" || (pattern[at] === text[index] && pattern[at] !== "*")) {
      at++;
      index++;
    } else if (pattern[at] === "*") {
      star = at++;
      resume = index;
    } else if (star >= 0) {
      at = star + 1;
      index = ++resume;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
