/** How many doormen there are, how long one may take, and when there is a new one after its end. */

export interface DoormanLimits {
  /** Milliseconds until there is a new process, after the first end and after many. */
  readonly firstDelay: number;
  readonly longestDelay: number;
  /** One that lasts this long did not fail at its start. */
  readonly settled: number;
  /** Milliseconds in which it must start. */
  readonly start: number;
  /** Milliseconds in which it must close its copies of sockets. */
  readonly drop: number;
  /** So many users have theirs before anything comes. */
  readonly eager: number;
  /** There are never more: each takes about 8 MB. */
  readonly most: number;
  /** So many start at the same time: each takes 0.15 s of a processor. */
  readonly startingAtOnce: number;
  /** Milliseconds of work, after which one may have to make room. More than 0, or none gets any work done. */
  readonly stay: number;
}

export const DEFAULT_DOORMAN_LIMITS: DoormanLimits = {
  firstDelay: 1000,
  longestDelay: 300_000,
  settled: 60_000,
  start: 20_000,
  drop: 2000,
  eager: 16,
  most: 100,
  startingAtOnce: 4,
  stay: 5000,
};
