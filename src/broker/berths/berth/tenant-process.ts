/**
 * The process that has a lease: its pidfd, and a watch for its end. Leases that one process takes over one connection
 * share both: to open, watch and close a pidfd takes nine system calls. It knows nothing of leases.
 */
import { check } from "../../../errors.ts";
import type { FdHandle } from "../../../fd.ts";
import { type Native, type Poll, READABLE } from "../../../native.ts";
import { POLLIN } from "../../../net/socket-constants.ts";

/** What all holders of one process share. It is closed with the last of them. */
class Watched {
  readonly pidfd: FdHandle;
  readonly sys: Native;
  readonly holders = new Set<TenantProcess>();
  /** Undefined once the process has exited. */
  poll: Poll | undefined;

  constructor(pidfd: FdHandle, sys: Native) {
    this.pidfd = pidfd;
    this.sys = sys;
    const poll = new sys.Poll(pidfd.fd, () => {
      poll.close();
      this.poll = undefined;
      for (const holder of [...this.holders]) if (this.holders.has(holder)) holder.onExit?.();
    });
    this.poll = poll;
    const result = poll.start(READABLE);
    if (result < 0) this.close();
    check("poll pidfd", result);
  }

  close(): void {
    this.poll?.close();
    this.poll = undefined;
    this.pidfd.close();
  }
}

/** One holder's share of a watched process. The holder closes it; each other holder has its own. */
export class TenantProcess {
  #watched: Watched | undefined;
  /** Called when the process exits, unless that has happened or this share was closed before. */
  onExit: (() => void) | undefined;

  private constructor(watched: Watched) {
    this.#watched = watched;
    watched.holders.add(this);
  }

  /** Owns the pidfd, also if it throws: then the pidfd cannot be watched. */
  static watch(pidfd: FdHandle, sys: Native): TenantProcess {
    return new TenantProcess(new Watched(pidfd, sys));
  }

  /** A share for another holder; undefined once this one was closed. */
  share(): TenantProcess | undefined {
    return this.#watched && new TenantProcess(this.#watched);
  }

  /** The pidfd, borrowed; undefined once this share was closed. */
  get pidfd(): number | undefined {
    return this.#watched?.pidfd.fd;
  }

  /** Whether this share is open and the process is not known to have exited. */
  get isWatched(): boolean {
    return this.#watched?.poll !== undefined;
  }

  /** Whether the process runs now, as the kernel says. False once this share was closed. */
  get lives(): boolean {
    const watched = this.#watched;
    return watched !== undefined && watched.sys.pollNow(watched.pidfd.fd, POLLIN) === 0;
  }

  /** Sends a signal, never to a later process of the same number. Returns 0 or -errno; undefined once closed. */
  signal(number: number): number | undefined {
    return this.#watched?.sys.pidfdSignal(this.#watched.pidfd.fd, number);
  }

  /** Tells no holder of an exit until {@link resume}. */
  pause(): void {
    this.#watched?.poll?.start(0);
  }

  resume(): void {
    this.#watched?.poll?.start(READABLE);
  }

  /** Idempotent. The last share closes the pidfd. */
  close(): void {
    const watched = this.#watched;
    if (watched === undefined) return;
    this.#watched = undefined;
    watched.holders.delete(this);
    if (watched.holders.size === 0) watched.close();
  }
}
