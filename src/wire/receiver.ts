/** The parameters of a wire: its receiver and its limits. Types only. */
import type { BerthError } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";

/** The events that a wire reports to its owner. */
export interface Receiver {
  /**
   * A message: the first `length` bytes of `bytes`, valid only until this returns, without the NUL of a frame. The
   * receiver owns `fds` from the first instant. `refused` says of other descriptors that came why they were not let
   * through.
   */
  onMessage(bytes: Buffer, length: number, fds: readonly FdHandle[], refused?: readonly string[]): void;
  /** The connection is over. `cause` is undefined when the peer closed it normally. Called once, never from `send`. */
  onClosed(cause: BerthError | undefined): void;
  /** Everything queued has been sent. */
  onDrained?(): void;
  /** A message has more bytes than `maxMessage`. Returns the limit of this connection from now on. */
  onLargeMessage?(): number;
}

/** Decides when a wire reads, so that the wires of one user do not hold up those of others. */
export interface Turn {
  /** Runs `read` at once and returns true; or returns false, and runs it later. Until then it is not called again. */
  run(read: () => void): boolean;
  /** Whether the read that runs now may handle another message before others get their turn. */
  goesOn(): boolean;
  /** The wire has closed: a read that waits never happens. Idempotent. */
  leave(): void;
}

/** Limits the bytes that several wires hold together. */
export interface Memory {
  /** Whether so many more bytes may be held. If so, `give` gives them back. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** What was read of a stream for a wire whose descriptors are received elsewhere. */
export interface GatedRead {
  /** The number of bytes, 0 at the end of the stream, or -errno. */
  readonly size: number;
  readonly bytes: Buffer;
  /** The descriptors that were let through. The reader owns them. */
  readonly fds: readonly FdHandle[];
  readonly refused: readonly string[];
}

/**
 * Receives and closes what a peer may have sent with its messages, so that this process does not: receiving or closing
 * a descriptor can wait for the program that made it.
 */
export interface DescriptorGate {
  /** Whether descriptors of the peer can reach the socket at all. */
  readonly isOpen: boolean;
  /** Reads a frame, at most, of the borrowed socket. Undefined when that failed. */
  read(socket: number): Promise<GatedRead | undefined>;
  /** Closes the socket, and the descriptors in its queue. */
  close(socket: FdHandle): void;
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
  /** When to read. Default: as soon as there is something to read. */
  readonly turn?: Turn | undefined;
  /** Bounds what incomplete messages hold, together with other wires. */
  readonly incomplete?: Memory | undefined;
  /** Bounds what queued messages hold, together with other wires. */
  readonly unread?: Memory | undefined;
  readonly sys?: Native;
  /** Default: descriptors are received and closed here. */
  readonly gate?: DescriptorGate | undefined;
}

/** The options of a wire, with every default filled in. */
export type WireSettings = Required<Omit<WireOptions, "turn" | "incomplete" | "unread" | "gate">> &
  Pick<WireOptions, "incomplete" | "unread" | "gate">;
