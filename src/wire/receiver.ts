/** The parameters of a wire: its receiver and its limits. Types only. */
import type { BerthError } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";

/** The events that a wire reports to its owner. */
export interface Receiver {
  /**
   * A message: the first `length` bytes of `bytes`, valid only until this returns, without the NUL of a frame. The
   * receiver owns `fds` from the first instant.
   */
  onMessage(bytes: Buffer, length: number, fds: readonly FdHandle[]): void;
  /** The connection is over. `cause` is undefined when the peer closed it normally. Called once, never from `send`. */
  onClosed(cause: BerthError | undefined): void;
  /** Everything queued has been sent. */
  onDrained?(): void;
}

export interface WireOptions {
  /** "nul": a message on a stream ends in NUL. "message": one recvmsg(2) returns one message. */
  readonly framing: "nul" | "message";
  /** The most bytes of a message. */
  readonly maxMessage?: number;
  /** The most descriptors to hold for an incomplete message. A message with more ends the connection. */
  readonly maxFdsAhead?: number;
  /** The most bytes to queue for a peer that does not read. An empty queue accepts one message of any length. */
  readonly maxQueue?: number;
  /** The most milliseconds for an incomplete message to arrive, and for a queued one to be sent. 0: no limit. */
  readonly deadline?: number;
  readonly sys?: Native;
}
