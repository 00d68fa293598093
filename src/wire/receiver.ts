/** What a wire is given: who receives, and within which limits. Types alone. */
import type { BerthError } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";

/** What a wire tells its owner. */
export interface Receiver {
  /**
   * A message: the first `length` bytes of `bytes`, valid only until this returns, without the NUL of a frame. The
   * receiver owns `fds` from the first instant.
   */
  onMessage(bytes: Buffer, length: number, fds: readonly FdHandle[]): void;
  /** The connection is over; `cause` is undefined when the peer simply closed it. Called once, never from `send`. */
  onClosed(cause: BerthError | undefined): void;
  /** Everything queued has been sent. */
  onDrained?(): void;
}

export interface WireOptions {
  /** "nul": messages end in NUL on a stream; "message": whatever one recvmsg gives. */
  readonly framing: "nul" | "message";
  /** Bytes a message may have. */
  readonly maxMessage?: number;
  /** Descriptors to hold for a message that has only begun to arrive; one with more ends the connection. */
  readonly maxFdsAhead?: number;
  /** Bytes that may wait for a peer that does not read; when none wait, one message of any length may. */
  readonly maxQueue?: number;
  /** Milliseconds a begun message may take to arrive, and a queued one to get on its way. 0 waits for ever. */
  readonly deadline?: number;
  readonly sys?: Native;
}
