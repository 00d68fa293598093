/**
 * Ownership of file descriptors. A number is only ever a borrowed descriptor; whoever must close it holds an
 * {@link FdHandle}. Names say what happens to ownership: adopt takes it, dup makes another, steal gives it away.
 */
import { BerthError, check } from "./errors.ts";
import { type Native, native } from "./native.ts";

/** An open descriptor, borrowed: valid until its owner closes it. 0 is a valid descriptor. */
export type Fd = number & { readonly fd: unique symbol };

function isFd(number: number): number is Fd {
  return Number.isInteger(number) && number >= 0;
}

/** The one owner of an open file descriptor. Disposable: `using handle = FdHandle.adopt(fd)`. */
export class FdHandle implements Disposable {
  readonly #sys: Native;
  #fd: Fd | undefined;

  private constructor(fd: Fd, sys: Native) {
    this.#fd = fd;
    this.#sys = sys;
  }

  /** Takes ownership of an open descriptor. From here on only this handle closes it. */
  static adopt(fd: number, sys: Native = native): FdHandle {
    if (!isFd(fd)) throw new BerthError("DESCRIPTOR_CLOSED", `${fd} is not a file descriptor`);
    return new FdHandle(fd, sys);
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
    return FdHandle.adopt(check("fcntl F_DUPFD_CLOEXEC", this.#sys.dup(this.fd)), this.#sys);
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
    this.#sys.close(fd);
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
