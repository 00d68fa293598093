/**
 * A clock that every broker of one boot reads the same, and that nobody sets: CLOCK_MONOTONIC (clock_gettime(2)), in
 * milliseconds. A time of it in a lease's record is good for as long as the lease is: no tenant outlives the boot.
 */
export function bootTime(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Milliseconds by which the clock on the wall must have been set before times are shown otherwise. */
const SET_BY_MS = 500;
let offset = 0;

/** When that is on the wall, in microseconds since 1970: the same answer each time, until somebody sets that clock. */
export function wallTimeOf(time: number): number {
  const now = Date.now() - bootTime();
  if (Math.abs(now - offset) > SET_BY_MS) offset = now;
  return Math.round(time + offset) * 1000;
}
