/** Whose descriptors a worker of the guard touches. */

/**
 * Whose descriptor it is: a user's, no single user's ("broker"), or a sender's who may pass none ("stranger"). Of a
 * socket that must hold up no other, its own.
 */
export type Owner = number | "broker" | "stranger" | `socket ${bigint}`;

/** A user has one worker for what it sends and one, with CAP_NET_ADMIN, for calls: neither holds up the other. */
export function keyOf(owner: Owner, keepNetAdmin: boolean): string {
  return `${owner}${keepNetAdmin ? "+" : ""}`;
}
