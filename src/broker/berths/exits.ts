/**
 * Tells when processes exit: their pidfds are readable then (pidfd_open(2)). All of them are one descriptor of the
 * event loop. It owns no pidfd.
 */
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";

/** Told at once; what is left is told in the next turn of the event loop. */
const AT_ONCE = 64;

/** One process that is watched. */
export interface WatchedExit {
  /** Watches on, or does not for now. An exit meanwhile is told when it does again. */
  pause(): void;
  resume(): void;
  /** Stops for good. Idempotent. The pidfd must still be open. */
  close(): void;
}

export class Exits implements Disposable {
  readonly sys: Native;
  readonly #byKey = new Map<number, () => void>();
  readonly #keys = new Int32Array(AT_ONCE);
  #lastKey = 0;
  #epoll: FdHandle | undefined;
  #poll: Poll | undefined;

  /** Opens nothing before {@link start}, or before there is a process to watch. */
  constructor(sys: Native) {
    this.sys = sys;
  }

  /** Opens what it needs ahead of its first use. Throws {@link SysError}. */
  start(): void {
    this.#open();
  }

  /** Calls `onExit` once when the process has exited. The pidfd is borrowed until then. Throws {@link SysError}. */
  watch(pidfd: number, onExit: () => void): WatchedExit {
    const epoll = this.#open();
    const key = this.#newKey();
    let isWatched = false;
    const close = (): void => {
      this.#byKey.delete(key);
      if (isWatched && this.#epoll !== undefined) this.sys.epollRemove(epoll, pidfd);
      isWatched = false;
    };
    const resume = (): void => {
      if (isWatched || !this.#byKey.has(key)) return;
      check("epoll_ctl pidfd", this.sys.epollAdd(epoll, pidfd, key));
      isWatched = true;
    };
    const pause = (): void => {
      if (isWatched) this.sys.epollRemove(epoll, pidfd);
      isWatched = false;
    };
    this.#byKey.set(key, () => {
      close();
      onExit();
    });
    try {
      resume();
    } catch (error) {
      close();
      throw error;
    }
    return { pause, resume, close };
  }

  /** Tells nothing any more. Idempotent. */
  [Symbol.dispose](): void {
    this.#poll?.close();
    this.#poll = undefined;
    this.#epoll?.close();
    this.#epoll = undefined;
    this.#byKey.clear();
  }

  #open(): number {
    if (this.#epoll !== undefined) return this.#epoll.fd;
    const epoll = FdHandle.adopt(check("epoll_create1", this.sys.epollCreate(0)), this.sys);
    const poll = new this.sys.Poll(epoll.fd, () => this.#tell());
    const result = poll.start(READABLE);
    if (result < 0) {
      poll.close();
      epoll.close();
    }
    check("poll epoll", result);
    poll.unref();
    this.#epoll = epoll;
    this.#poll = poll;
    return epoll.fd;
  }

  #newKey(): number {
    do this.#lastKey = (this.#lastKey + 1) & 0x7fffffff;
    while (this.#byKey.has(this.#lastKey));
    return this.#lastKey;
  }

  #tell(): void {
    if (this.#epoll === undefined) return;
    const count = check("epoll_wait", this.sys.epollTake(this.#epoll.fd, this.#keys));
    // Of a copy: who is told of one may stop watching another, or begin to.
    for (const key of this.#keys.slice(0, count)) this.#byKey.get(key)?.();
  }
}
