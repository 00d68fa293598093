/** The addon's object that tells when a descriptor is ready. Types only. */

/** Readiness of one descriptor on the event loop, by libuv's uv_poll. Level-triggered. */
export interface Poll {
  /**
   * Watches for `events` (READABLE | WRITABLE | DISCONNECT of native.ts) from now on; 0 pauses. Returns 0 or -errno.
   */
  start(events: number): number;
  /** Stops for good; the descriptor itself stays open and is the caller's. Idempotent. */
  close(): void;
  /** Whether this poll alone keeps the process alive: ref() yes (as at first), unref() no. */
  ref(): void;
  unref(): void;
}

/** Called with 0 and the events that hold, or with -errno when polling itself failed. */
export type PollCallback = (status: number, events: number) => void;
