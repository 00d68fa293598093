/** How long a doorman may take, and when there is a new one after its end. In milliseconds. */

export interface DoormanLimits {
  /** Milliseconds until there is a new process, after the first end and after many. */
  readonly firstDelay: number;
  readonly longestDelay: number;
  /** One that lasts this long did not fail at its start. */
  readonly settled: number;
  /** How long its start may take. */
  readonly start: number;
  /** How long it may take to close its copies of sockets. */
  readonly drop: number;
}

export const DEFAULT_DOORMAN_LIMITS: DoormanLimits = {
  firstDelay: 1000,
  longestDelay: 300_000,
  settled: 60_000,
  start: 20_000,
  drop: 2000,
};
