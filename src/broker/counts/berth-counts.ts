/** What a broker counts of one berth: numbers that grow in place, from when this broker first knew the berth. */

/** What came for a server that starts on demand. */
export type WakeCause = "datagram" | "connection";

/**
 * What a bind(2) of a server came to. held: it got the berth's socket. own: its own socket was bound. kernel: the
 * kernel carries out the call. refused: the address is not the berth's. busy: somebody has the address. failed: any
 * other error.
 */
export type BindResult = "held" | "own" | "kernel" | "refused" | "busy" | "failed";

export class BerthCounts {
  /** Leases that were granted. */
  leases = 0;
  /** Those of them that took over from a tenant. */
  takeovers = 0;
  /** Leases after the first one, also of an earlier broker. */
  restarts = 0;
  /** Starts on demand, and those that failed. */
  starts = 0;
  startFailures = 0;
  readonly wakes: Record<WakeCause, number> = { datagram: 0, connection: 0 };
  readonly binds: Record<BindResult, number> = { held: 0, own: 0, kernel: 0, refused: 0, busy: 0, failed: 0 };
}
