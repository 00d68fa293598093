/** Time and timers, for what is told at most once a second. Tests pass their own. */
export interface ReportClock {
  /** Milliseconds since 1970. */
  now(): number;
  after(milliseconds: number, run: () => void): () => void;
}

export const systemClock: ReportClock = {
  now: Date.now,
  after: (milliseconds, run) => {
    const timer = setTimeout(run, milliseconds).unref();
    return () => clearTimeout(timer);
  },
};
