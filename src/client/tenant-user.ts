/** Whom a tenant runs as now: the user who took the berth may be another. */
import { readFileSync } from "node:fs";
import { native } from "../native.ts";
import type { Lease } from "../varlink/interfaces/io.berthd.Broker.types.ts";

/** The user's name, or the id where the system knows no name. It must run on the tenant's host. */
export function tenantUser(lease: Pick<Lease, "pid" | "uid">): string {
  return userName(uidOf(lease));
}

/**
 * Whom the tenant runs as now: a launcher takes the berth with the privilege that it then drops (proc(5) status). Where
 * that cannot be seen, whom it was when it took it.
 */
function uidOf({ pid, uid }: Pick<Lease, "pid" | "uid">): number {
  try {
    const effective = /^Uid:\t\d+\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return effective === undefined ? uid : Number(effective);
  } catch {
    return uid;
  }
}

/** The user's name where the system knows one, else the id. */
export function userName(uid: number): string {
  const entry = native.passwd(uid);
  return typeof entry === "object" ? entry.name : String(uid);
}
