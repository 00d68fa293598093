/**
 * Ownership of file descriptors. A number is only ever a borrowed descriptor; the owner, who must close it, holds an
 * {@link FdHandle}. Names say what happens to ownership: adopt takes it, borrow leaves it, dup makes another, steal
 * gives it away. It never sends or receives.
 */
import { BerthError, check } from "./errors.ts";
import { type Native, native } from "./native.ts";

/** An open descriptor, borrowed: valid until its owner closes it. 0 is a valid descriptor. */
export type Fd = number & { readonly fd: unique symbol };

function isFd(number: number): number is Fd {
  return Number.isInteger(number) && number >= 0;
}

/** The calls that an owner of a descriptor makes. */
export type FdCalls = Pick<Native, "close" | "closeForeign" | "dup">;

/** The one owner of an open file descriptor. Disposable: `using handle = FdHandle.adopt(fd)`. */
export class FdHandle implements Disposable {
  readonly #sys: FdCalls;
  readonly #foreign: boolean;
  #fd: Fd | undefined;

  private constructor(fd: Fd, sys: FdCalls, foreign: boolean) {
    this.#fd = fd;
    this.#sys = sys;
    this.#foreign = foreign;
  }

  /** Takes ownership of an open descriptor. From here on only this handle closes it. */
  static adopt(fd: number): FdHandle;
  /** @internal */
  static adopt(fd: number, sys: FdCalls): FdHandle;
  static adopt(fd: number, sys: FdCalls = native): FdHandle {
    if (!isFd(fd)) throw new BerthError("DESCRIPTOR_CLOSED", `${fd} is not a file descriptor`);
    return new FdHandle(fd, sys, false);
  }

  /**
   * Takes ownership of a descriptor of what somebody else has opened, who may have made it so that close(2) waits: for
   * a program that does not answer, for a peer that does not read. `closeForeign` of `sys` waits elsewhere, for this
   * handle and for each duplicate.
   */
  static adoptForeign(fd: number): FdHandle;
  /** @internal */
  static adoptForeign(fd: number, sys: FdCalls): FdHandle;
  static adoptForeign(fd: number, sys: FdCalls = native): FdHandle {
    if (!isFd(fd)) throw new BerthError("DESCRIPTOR_CLOSED", `${fd} is not a file descriptor`);
    return new FdHandle(fd, sys, true);
  }

  /** Whether it is still ours. */
  get open(): boolean {
    return this.#fd !== undefined;
  }

  /** The descriptor, borrowed. Throws DESCRIPTOR_CLOSED once it was closed or stolen. */
  get fd(): Fd {
    if (this.#fd === undefined)
      throw new BerthError("DESCRIPTOR_CLOSED", "the descriptor was already closed or given away");
    return this.#fd;
  }

  /** A second descriptor of the same open file, close-on-exec and not below 3 (fcntl(2), F_DUPFD_CLOEXEC). */
  dup(): FdHandle {
    const { fd } = this;
    const copy = check("fcntl F_DUPFD_CLOEXEC", this.#sys.dup(fd));
    return this.#foreign ? FdHandle.adoptForeign(copy, this.#sys) : FdHandle.adopt(copy, this.#sys);
  }

  /** A new handle that owns the descriptor from now on. This one is closed afterwards. */
  move(): FdHandle {
    return new FdHandle(this.steal(), this.#sys, this.#foreign);
  }

  /** Gives the descriptor to the caller, who closes it from now on. The handle is closed afterwards. */
  steal(): Fd {
    const fd = this.fd;
    this.#fd = undefined;
    return fd;
  }

  /** Closes the descriptor. Idempotent, and never throws: on Linux the descriptor is gone whatever close(2) says. */
  close(): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#fd = undefined;
    if (this.#foreign) this.#sys.closeForeign(fd);
    else this.#sys.close(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Closes every handle of a list. */
export function closeAll(handles: Iterable<FdHandle>): void {
  for (const handle of handles) handle.close();
}

/** No fds: what a message without any carries. */
export const NO_FDS: readonly FdHandle[] = Object.freeze([]);

/** Takes ownership of the descriptors that came with a message: `received` as {@link Native.recvmsg} filled it. */
export function adoptReceived(received: Int32Array, sys: Native = native): readonly FdHandle[] {
  const count = received[0] ?? 0;
  if (count === 0) return NO_FDS;
  return Array.from(received.subarray(2, 2 + count), (fd) => FdHandle.adoptForeign(fd, sys));
}

/**
 * What -EMSGSIZE of {@link Native.recvmsg} means: the kernel had more descriptors for this process than it may open.
 */
export function descriptorsTruncated(): BerthError {
  return new BerthError(
    "DESCRIPTORS_TRUNCATED",
    "a message carried more descriptors than this process may open; raise its limit (RLIMIT_NOFILE, `ulimit -n`)",
  );
}

/** Descriptors to borrow for one message: the first `count` entries of `fds`. */
export interface Borrowed {
  readonly fds: Int32Array;
  readonly count: number;
}

/** A message without descriptors. */
export const NOTHING_BORROWED: Borrowed = { fds: new Int32Array(0), count: 0 };

/** Borrows the descriptors of some handles. */
export function borrow(handles: readonly FdHandle[]): Borrowed {
  if (handles.length === 0) return NOTHING_BORROWED;
  return { fds: Int32Array.from(handles, (handle) => handle.fd), count: handles.length };
}
