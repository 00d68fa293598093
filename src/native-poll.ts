/** The parts of the addon that tell when a descriptor is ready. Types only. */

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

/** Many descriptors watched as one (epoll.cc). Each returns its result, or -errno. */
export interface EpollCalls {
  /** epoll_create1(2) with EPOLL_CLOEXEC: a descriptor that is readable when one of those that it watches is. */
  epollCreate(flags: number): number;
  /** Watches `fd` until it is readable for the first time, or removed. `key` is what {@link epollTake} tells then. */
  epollAdd(epoll: number, fd: number, key: number): number;
  epollRemove(epoll: number, fd: number): number;
  /** The keys of some that are readable, each once, at most 64: how many. Never waits. */
  epollTake(epoll: number, keys: Int32Array): number;
}
