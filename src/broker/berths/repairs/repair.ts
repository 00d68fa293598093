/** One berth whose sockets are set right: what is due, and in whose guard process. It calls nothing. */
import { isPrivileged } from "../../access/policy.ts";
import type { Owner } from "../../guard/guard.ts";
import type { PlansOutcome } from "../../plans/guarded-plan.ts";
import type { NamedSocket } from "../../sockets/named-socket.ts";
import { socketInode } from "../../sockets/passed-socket.ts";
import type { Berth } from "../berth/berth.ts";
import type { Lease } from "../berth/lease.ts";
import type { LastTenant } from "./tenant-end.ts";

export interface Repair {
  readonly stopped: AbortSignal;
  readonly done: Promise<undefined>;
  /** The tenant that may be to blame. */
  last: LastTenant | undefined;
  /** No process of its server lives, so none has the sockets. */
  isOver: boolean;
}

/** What came of one try; `freed` resolves when the guard process that got stuck has ended. */
export type Outcome = Exclude<PlansOutcome, "stuck"> | { readonly freed: Promise<void> };

export type Turn = "first" | "later";

/**
 * Whose guard process does it: the tenant's. Root's and the broker's are shared by the servers that root starts, so one
 * that got stuck there holds up no other a second time.
 */
export function ownerOf({ sockets }: Berth, last: LastTenant | undefined, turn: Turn): Owner {
  const uid = last?.tenant.uid;
  if (uid !== undefined && (turn === "first" || !isPrivileged(uid, process.geteuid?.() ?? 0))) return uid;
  const [first] = sockets;
  return turn === "first" || first?.socket.open !== true ? "broker" : `socket ${socketInode(first.socket.fd)}`;
}

export function isOver(lease: Lease | undefined): boolean {
  return lease?.others?.() === "none" && !lease.hasMain;
}

export function dueOf(berth: Berth): readonly NamedSocket[] {
  return berth.sockets.filter(({ socket }) => socket.due !== undefined);
}
