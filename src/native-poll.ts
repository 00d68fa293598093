/** How the addon tells that a descriptor is ready. */

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

/** epoll.cc. For files that others have too, the epoll must be in no other one, so not in the event loop's. */
export interface EpollCalls {
  /** epoll_create1(2), EPOLL_CLOEXEC always. */
  epollCreate(flags: number): number;
  /** epoll_ctl(2): an operation of EPOLL_CTL_…, the events of EPOLL…, and the number that {@link epollReady} gives. */
  epollControl(epoll: number, operation: number, fd: number, events: number, id: number): number;
  /** epoll_wait(2) with no wait: the numbers of at most 64 ready files into `ids`; how many, or -errno. */
  epollReady(epoll: number, ids: Uint32Array): number;
}

/** epoll_ctl(2). */
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
/** The peer, or shutdown(2), has ended reading. EPOLLERR and EPOLLHUP are told in any case. */
export const EPOLLRDHUP = 0x2000;
/** Told once, until EPOLL_CTL_MOD. */
export const EPOLLONESHOT: number = 2 ** 30;
