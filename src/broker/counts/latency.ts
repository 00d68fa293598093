/** How long calls took, as a histogram: a few additions for each call, and no memory. Pure. */

/** Upper bounds in seconds. A call is counted in each bucket whose bound it does not exceed, and in the last anyway. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.1, 1, 10,
];

export class Latency {
  /** Calls by the first bound that they do not exceed; the last one has the calls above all bounds. */
  readonly #counts: number[] = Array.from({ length: LATENCY_BOUNDS.length + 1 }, () => 0);
  #milliseconds = 0;

  note(milliseconds: number): void {
    const seconds = milliseconds / 1000;
    let at = 0;
    while (at < LATENCY_BOUNDS.length && seconds > (LATENCY_BOUNDS[at] ?? 0)) at++;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#milliseconds += milliseconds;
  }

  /** All calls together. */
  get seconds(): number {
    return this.#milliseconds / 1000;
  }

  get calls(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** How many calls took at most so long, for each bound; `+Inf` has all. As Prometheus writes bounds. */
  get buckets(): readonly (readonly [le: string, calls: number])[] {
    let sum = 0;
    return this.#counts.map((count, at) => {
      sum += count;
      return [LATENCY_BOUNDS[at] === undefined ? "+Inf" : String(LATENCY_BOUNDS[at]), sum] as const;
    });
  }
}
