/** How much a peer may ask of the broker at once, and what is kept for root and the broker's own user. */

/** The size of a call. */
export interface CallLimits {
  /** Bytes, NUL included. */
  readonly bytes: number;
  /** Keys and array items, counted by the colons and commas outside of strings. */
  readonly values: number;
}

/** A call of a peer that may take a berth. The largest is a Launch with a command line and its environment. */
export const LARGE_CALL: CallLimits = { bytes: 1024 * 1024, values: 65_536 };
/** A call of any other peer, which has nothing to say that needs more. */
export const SMALL_CALL: CallLimits = { bytes: 64 * 1024, values: 1024 };

/** Milliseconds for a message to arrive, and for a reply to be read. */
export const DEFAULT_DEADLINE_MS = 10_000;

/** Milliseconds of work that a user has before others get their turn. */
export const QUANTUM_MS = 1;
/** Milliseconds of work for all such users together before the event loop looks for new messages. */
export const SLICE_MS = 2;

/** Bytes for one user, and for all users together. */
export interface MemoryLimits {
  readonly user: number;
  readonly all: number;
}

/** For incomplete calls. */
export const INCOMPLETE_BYTES: MemoryLimits = { user: 8 * 1024 * 1024, all: 64 * 1024 * 1024 };
/** For replies and events that wait to be read. */
export const UNREAD_BYTES: MemoryLimits = { user: 16 * 1024 * 1024, all: 64 * 1024 * 1024 };

/** Connections of one user: so many at once after a pause, and so many each second. Root is exempt. */
export const ARRIVALS = { burst: 512, perSecond: 256 } as const;

/** Changes of one berth's drain by a user: so many at once, and so many each second. Root is exempt. */
export const DRAIN_CHANGES = { burst: 16, perSecond: 1 } as const;

/** Calls that may wait for the end of one berth's server, but for root's: who has gone away still counts as one. */
export const STOP_CALLS = 64;

/** Descriptors that no client can use up: the broker needs them for pidfds, plans, duplicates and a reload. */
const BROKER_FDS = 16;
/** Descriptors that only root and the broker's own user can use besides: at most this many, and this share of all. */
const PRIVILEGED_FDS = { most: 64, share: 1 / 8 } as const;

/** From this number on, a descriptor is one of those that are kept for others. `maxFds` is RLIMIT_NOFILE. */
export function firstReservedFd(maxFds: number, privileged: boolean): number {
  const kept = Math.min(PRIVILEGED_FDS.most, Math.floor(maxFds * PRIVILEGED_FDS.share));
  return maxFds - BROKER_FDS - (privileged ? 0 : kept);
}

/** Connections of all unprivileged users together that may watch. The others are left for calls. */
export function maxWatchers(maxFds: number): number {
  return Math.floor(firstReservedFd(maxFds, false) / 2);
}

/** Milliseconds for which a change of /etc/subuid, or of a berth's range, may go unnoticed. */
export const OWNERS_AGE_MS = 5000;
