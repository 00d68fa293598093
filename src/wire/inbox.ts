/**
 * What comes in on a wire: reads the socket, puts frames together, and delivers each message with its own fds. It
 * never sends, watches or closes the socket: when the peer has ended or broken the rules it says so, and the wire acts.
 */
import { constants } from "node:os";
import { BerthError, SysError } from "../errors.ts";
import { adoptReceived, closeAll, descriptorsTruncated, type FdHandle, NO_FDS } from "../fd.ts";
import { MSG_TRUNC, type Native, RECEIVED_LENGTH } from "../native.ts";
import { PartialFrame } from "./partial-frame.ts";
import type { Receiver, WireOptions } from "./receiver.ts";

const { EAGAIN, EMSGSIZE } = constants.errno;

/** Frames of one length in a row after which a peer is taken to ask and wait. */
const STEADY = 8;

// Shared by every wire of this thread: a message is handled before the next one is read.
const incoming = Buffer.allocUnsafeSlow(64 * 1024);
const received = new Int32Array(RECEIVED_LENGTH);

export class Inbox {
  readonly #socket: FdHandle;
  readonly #receiver: Receiver;
  readonly #framed: boolean;
  readonly #maxMessage: number;
  readonly #maxFdsAhead: number;
  readonly #deadline: number;
  readonly #sys: Native;
  readonly #onOver: (cause: BerthError | undefined) => void;
  #closed = false;
  /** Whether the end of a frame is looked for before it is taken; if not, what is taken has to fit `#room`. */
  #peeking: boolean;
  #room: Buffer = incoming;
  /** How long the last frame was, and how many before it were just as long, one after the other. */
  #lastLength = 0;
  #sameLength = 0;
  #partial: PartialFrame | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;

  /** Borrows the socket. `onOver`: nothing more comes; without a cause the peer simply closed. */
  constructor(
    socket: FdHandle,
    receiver: Receiver,
    options: Required<WireOptions>,
    onOver: (cause: BerthError | undefined) => void,
  ) {
    this.#socket = socket;
    this.#receiver = receiver;
    this.#framed = options.framing === "nul";
    this.#peeking = this.#framed;
    this.#maxMessage = options.maxMessage;
    this.#maxFdsAhead = options.maxFdsAhead;
    this.#deadline = options.deadline;
    this.#sys = options.sys;
    this.#onOver = onOver;
  }

  /** Whether part of a message has arrived. */
  get receiving(): boolean {
    return this.#partial !== undefined;
  }

  /**
   * Reads one frame, or a message. Finding a frame's end first (recvframe) costs one more system call; a peer that
   * asks and waits does not need it, since no second frame can be there to be mixed up with. Such a peer is known by
   * frames of one length without fds, and is then read with room for no more than that length. Returns whether
   * there may be more to read.
   */
  read(): boolean {
    if (this.#closed) return false;
    const size = this.#peeking
      ? this.#sys.recvframe(this.#socket.fd, incoming, 0, received)
      : this.#sys.recvmsg(this.#socket.fd, this.#room, 0, received);
    if (size === -EAGAIN) return false;
    this.#accept(size);
    return !this.#closed;
  }

  /** Delivers nothing from now on, and closes the fds of a message that has only begun. Idempotent. */
  close(): void {
    this.#closed = true;
    const partial = this.#takePartial();
    if (partial !== undefined) closeAll(partial.fds);
  }

  #accept(size: number): void {
    if (size === -EMSGSIZE) return this.#onOver(descriptorsTruncated());
    if (size < 0) return this.#onOver(new SysError("recvmsg", -size));
    const fds = adoptReceived(received, this.#sys);
    if (size === 0 && fds.length === 0) return this.#onOver(this.receiving ? cutOff() : undefined);
    if (this.#framed) this.#acceptFrame(size, fds);
    else if (((received[1] ?? 0) & MSG_TRUNC) !== 0) this.#refuse(fds, tooLarge(incoming.length));
    else this.#receiver.onMessage(incoming, size, fds);
  }

  #acceptFrame(size: number, fds: readonly FdHandle[]): void {
    const partial = this.#partial;
    const length = partial === undefined ? size : partial.length + size;
    if (length > this.#maxMessage) return this.#refuse(fds, tooLarge(this.#maxMessage));
    if (!this.#peeking && incoming.indexOf(0) !== size - 1) return this.#acceptUnexpected(size, fds);
    if (partial !== undefined) return this.#acceptMore(partial, size, fds);
    if (incoming[size - 1] !== 0) return this.#begin(incoming.subarray(0, size), fds);
    this.#learn(size, fds.length);
    this.#receiver.onMessage(incoming, size - 1, fds);
  }

  /** Whether the peer is steady, as far as its frames tell. */
  #learn(size: number, fds: number): void {
    this.#sameLength = size === this.#lastLength && fds === 0 ? this.#sameLength + 1 : 0;
    this.#lastLength = size;
    if (this.#sameLength === 0) this.#peeking = true;
    else if (this.#sameLength === STEADY) {
      this.#peeking = false;
      this.#room = incoming.subarray(0, size);
    }
  }

  /**
   * A peer that was read without looking for the end of its frame has begun to pipeline, or to send longer ones. What
   * came is at most one frame's length; fds in it came with the last frame begun, for each sendmsg(2) of theirs ends
   * the read. From now on the ends are looked for again.
   */
  #acceptUnexpected(size: number, fds: readonly FdHandle[]): void {
    this.#peeking = true;
    this.#sameLength = 0;
    this.#lastLength = 0;
    const bytes = Buffer.from(incoming.subarray(0, size));
    const last = bytes.lastIndexOf(0, size - 2) + 1;
    for (let start = 0; start < size; ) {
      if (this.#closed) return closeAll(fds);
      const end = bytes.indexOf(0, start);
      const own = start === last ? fds : NO_FDS;
      if (end < 0) return this.#begin(bytes.subarray(start), own);
      this.#receiver.onMessage(bytes.subarray(start, end), end - start, own);
      start = end + 1;
    }
  }

  #begin(chunk: Buffer, fds: readonly FdHandle[]): void {
    if (fds.length > this.#maxFdsAhead) {
      const problem = `a message carries ${fds.length} descriptors; at most ${this.#maxFdsAhead} are taken`;
      return this.#refuse(fds, new BerthError("PROTOCOL_ERROR", problem));
    }
    this.#partial = new PartialFrame(chunk, fds);
    if (this.#deadline > 0) {
      this.#deadlineTimer = setTimeout(() => {
        this.#onOver(new BerthError("PROTOCOL_ERROR", `a message took longer than ${this.#deadline} ms to arrive`));
      }, this.#deadline).unref();
    }
  }

  #acceptMore(partial: PartialFrame, size: number, fds: readonly FdHandle[]): void {
    if (fds.length > 0) {
      const problem = "fds came in the middle of a message, not with its first byte";
      return this.#refuse(fds, new BerthError("PROTOCOL_ERROR", problem));
    }
    partial.append(incoming.subarray(0, size));
    if (incoming[size - 1] !== 0) return;
    this.#takePartial();
    this.#receiver.onMessage(partial.bytes, partial.length - 1, partial.fds);
  }

  #takePartial(): PartialFrame | undefined {
    const partial = this.#partial;
    this.#partial = undefined;
    clearTimeout(this.#deadlineTimer);
    return partial;
  }

  #refuse(fds: readonly FdHandle[], cause: BerthError): void {
    closeAll(fds);
    this.#onOver(cause);
  }
}

function tooLarge(limit: number): BerthError {
  return new BerthError("MESSAGE_TOO_LARGE", `a message exceeds ${limit} bytes`);
}

function cutOff(): BerthError {
  return new BerthError("PROTOCOL_ERROR", "the peer closed in mid-message");
}
