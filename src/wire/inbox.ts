/**
 * The receiving side of a wire: it reads the socket, assembles frames, and delivers each message with its own fds. It
 * never sends on, watches or closes the socket. It reports when the peer closes or breaks the protocol; the wire acts.
 */
import { constants } from "node:os";
import { BerthError, SysError } from "../errors.ts";
import { adoptReceived, closeAll, descriptorsTruncated, type FdHandle, NO_FDS } from "../fd.ts";
import { FRAME, LOOK, MSG_TRUNC, type Native, RECEIVED_LENGTH, TAKE } from "../native.ts";
import { Pace } from "./pace.ts";
import { PartialFrame } from "./partial-frame.ts";
import type { DescriptorGate, GatedRead, Memory, Receiver, WireSettings } from "./receiver.ts";

const { E2BIG, EAGAIN, EMSGSIZE, ENOMSG } = constants.errno;

/** The most frames that one read handles. */
const FRAMES_AT_ONCE = 32;

const NONE_REFUSED: readonly string[] = Object.freeze([]);

// Shared by every wire of this thread: a message is handled before the next one is read.
const incoming = Buffer.allocUnsafeSlow(64 * 1024);
const received = new Int32Array(RECEIVED_LENGTH);
/** For bytes that are read a second time, to take them out of the socket. */
const scrap = Buffer.allocUnsafeSlow(incoming.length);

export class Inbox {
  readonly #socket: FdHandle;
  readonly #receiver: Receiver;
  readonly #framed: boolean;
  #maxMessage: number;
  readonly #maxFdsAhead: number;
  readonly #deadline: number;
  readonly #memory: Memory | undefined;
  readonly #sys: Native;
  readonly #onOver: (cause: BerthError | undefined) => void;
  readonly #gate: DescriptorGate | undefined;
  readonly #onResumed: () => void;
  readonly #mayGoOn: () => boolean;
  #closed = false;
  /** Set while the gate reads: nothing is read here meanwhile. */
  #waiting = false;
  /** The peer sends no more, and everything was read. */
  #ended = false;
  /** So many bytes were handled, and are still in the socket. */
  #handled = 0;
  readonly #pace: Pace = new Pace();
  #partial: PartialFrame | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;

  /**
   * Borrows the socket. `onOver`: no more messages arrive. Without a cause, the peer closed normally. `onResumed`:
   * {@link waiting} is over. `mayGoOn`: whether another message may be delivered now.
   */
  constructor(
    socket: FdHandle,
    receiver: Receiver,
    options: WireSettings,
    onOver: (cause: BerthError | undefined) => void,
    onResumed: () => void,
    mayGoOn: () => boolean,
  ) {
    this.#socket = socket;
    this.#receiver = receiver;
    this.#framed = options.framing === "nul";
    this.#maxMessage = options.maxMessage;
    this.#maxFdsAhead = options.maxFdsAhead;
    this.#deadline = options.deadline;
    this.#memory = options.incomplete;
    this.#sys = options.sys;
    this.#onOver = onOver;
    this.#gate = options.gate;
    this.#onResumed = onResumed;
    this.#mayGoOn = mayGoOn;
  }

  /** Whether part of a message has arrived. */
  get receiving(): boolean {
    return this.#partial !== undefined;
  }

  get waiting(): boolean {
    return this.#waiting;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Reads one frame, or one message. Returns whether there may be more to read. Behind a gate it reads several frames
   * that came without descriptors.
   *
   * Finding a frame's end first (recvframe) costs one more system call. A peer that waits for each reply has only one
   * frame in the buffer, so its frames need no such search (pace.ts). The inbox then reads at most one frame's length.
   */
  read(): boolean {
    if (this.#closed || this.#waiting) return false;
    const gate = this.#gate;
    if (gate !== undefined) return this.#readBytes(gate);
    const size = this.#receive();
    if (size === -EAGAIN) return false;
    this.#accept(size);
    return !this.#closed;
  }

  /** Reads a frame without descriptors; has the gate read one that has some. */
  #readBytes(gate: DescriptorGate): boolean {
    const size = this.#receiveBytes(gate);
    if (size > 0) this.#acceptFrame(incoming, size, NO_FDS);
    else if (size === -E2BIG) this.#readFrames();
    else if (size === -EAGAIN) return false;
    else if (size === -ENOMSG) {
      this.#readGated(gate);
      return false;
    } else if (size === 0) this.#atEnd();
    else this.#onOver(new SysError("recvmsg", -size));
    return !this.#closed;
  }

  #receive(): number {
    const { steady } = this.#pace;
    if (this.#framed && steady === 0) return this.#sys.recvframe(this.#socket.fd, incoming, 0, received);
    return this.#sys.recvmsg(this.#socket.fd, steady > 0 ? incoming.subarray(0, steady) : incoming, 0, received);
  }

  #receiveBytes(gate: DescriptorGate): number {
    const { steady } = this.#pace;
    if (steady === 0 || gate.isOpen) return this.#sys.recvbytes(this.#socket.fd, incoming, FRAME);
    return this.#sys.recvbytes(this.#socket.fd, incoming.subarray(0, steady), TAKE);
  }

  /**
   * Handles frames while the wire may go on, then takes them out of the socket with one call. All others stay there, so
   * a peer that pipelines many calls fills its own socket's queue, not our memory.
   */
  #readFrames(): void {
    const size = this.#sys.recvbytes(this.#socket.fd, incoming, LOOK);
    this.#pace.reset();
    for (let frames = 0, start = 0; start < size; frames++) {
      const end = incoming.indexOf(0, start) + 1;
      if (end === 0 || end > size) break;
      this.#handled = end;
      this.#acceptPart(start === 0 ? incoming : incoming.subarray(start, end), end - start, NO_FDS);
      start = end;
      if (this.#closed || frames + 1 === FRAMES_AT_ONCE || !this.#mayGoOn()) break;
    }
    this.settle();
  }

  /**
   * Takes out of the socket what was handled. The socket's owner calls it before closing: a peer whose messages nobody
   * has read gets ECONNRESET.
   */
  settle(): void {
    if (this.#handled > 0) this.#sys.recvbytes(this.#socket.fd, scrap.subarray(0, this.#handled), TAKE);
    this.#handled = 0;
  }

  #readGated(gate: DescriptorGate): void {
    this.#waiting = true;
    this.#onResumed();
    void gate.read(this.#socket.fd).then((read) => {
      this.#waiting = false;
      if (this.#closed) return read === undefined ? undefined : closeAll(read.fds);
      this.#acceptGated(read);
      if (!this.#closed) this.#onResumed();
    });
  }

  #acceptGated(read: GatedRead | undefined): void {
    if (read === undefined) return this.#onOver(new BerthError("PROTOCOL_ERROR", "its descriptors cannot be received"));
    const { size, bytes, fds, refused } = read;
    if (size === -EAGAIN) return;
    if (size === -EMSGSIZE) return this.#onOver(descriptorsTruncated());
    if (size < 0) return this.#onOver(new SysError("recvmsg", -size));
    if (size === 0) return this.#atEnd();
    this.#pace.reset();
    this.#acceptFrame(bytes, size, fds, refused);
  }

  #atEnd(): void {
    this.#ended = true;
    this.#onOver(this.receiving ? cutOff() : undefined);
  }

  /** Stops delivering, and closes the fds of an incomplete message. Idempotent. */
  close(): void {
    this.#closed = true;
    const partial = this.#takePartial();
    if (partial !== undefined) closeAll(partial.fds);
  }

  #accept(size: number): void {
    if (size === -EMSGSIZE) return this.#onOver(descriptorsTruncated());
    if (size < 0) return this.#onOver(new SysError("recvmsg", -size));
    const fds = adoptReceived(received, this.#sys);
    if (size === 0 && fds.length === 0) return this.#atEnd();
    if (this.#framed) this.#acceptFrame(incoming, size, fds);
    else if (((received[1] ?? 0) & MSG_TRUNC) !== 0) this.#refuse(fds, tooLarge(incoming.length));
    else this.#receiver.onMessage(incoming, size, fds);
  }

  #acceptFrame(source: Buffer, size: number, fds: readonly FdHandle[], refused?: readonly string[]): void {
    if (this.#pace.steady > 0 && incoming.indexOf(0) !== size - 1) return this.#acceptUnexpected(size, fds);
    if (this.#partial === undefined && source[size - 1] === 0) this.#pace.note(size, fds.length);
    this.#acceptPart(source, size, fds, refused);
  }

  /** A frame, or a part of one. */
  #acceptPart(source: Buffer, size: number, fds: readonly FdHandle[], refused?: readonly string[]): void {
    const partial = this.#partial;
    const length = partial === undefined ? size : partial.length + size;
    if (length > this.#maxMessage && length > this.#raiseLimit()) return this.#refuse(fds, tooLarge(this.#maxMessage));
    if (partial !== undefined) return this.#acceptMore(partial, source.subarray(0, size), fds, refused);
    if (source[size - 1] !== 0) return this.#begin(source.subarray(0, size), fds, refused);
    this.#receiver.onMessage(source, size - 1, fds, refused);
  }

  /**
   * The peer has begun to pipeline or to send longer frames, but this read did not find the frame's end first. The read
   * took at most one frame's length. Its fds belong to the last frame that begins in it, because each sendmsg(2) with
   * fds ends a read. From now on the inbox finds the ends first again.
   */
  #acceptUnexpected(size: number, fds: readonly FdHandle[]): void {
    this.#pace.reset();
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

  #begin(chunk: Buffer, fds: readonly FdHandle[], refused: readonly string[] = NONE_REFUSED): void {
    const count = fds.length + refused.length;
    if (count > this.#maxFdsAhead) {
      const problem = `a message carries ${count} descriptors; at most ${this.#maxFdsAhead} are taken`;
      return this.#refuse(fds, new BerthError("PROTOCOL_ERROR", problem));
    }
    this.#partial = new PartialFrame(fds, refused, this.#memory);
    if (!this.#partial.append(chunk)) return this.#onOver(tooManyIncomplete());
    if (this.#deadline > 0) {
      this.#deadlineTimer = setTimeout(() => {
        this.#onOver(new BerthError("PROTOCOL_ERROR", `a message took longer than ${this.#deadline} ms to arrive`));
      }, this.#deadline).unref();
    }
  }

  #acceptMore(
    partial: PartialFrame,
    chunk: Buffer,
    fds: readonly FdHandle[],
    refused: readonly string[] = NONE_REFUSED,
  ): void {
    if (fds.length + refused.length > 0) {
      const problem = "fds came in the middle of a message, not with its first byte";
      return this.#refuse(fds, new BerthError("PROTOCOL_ERROR", problem));
    }
    if (!partial.append(chunk)) return this.#onOver(tooManyIncomplete());
    if (chunk[chunk.length - 1] !== 0) return;
    this.#takePartial();
    this.#receiver.onMessage(partial.bytes, partial.length - 1, partial.fds, partial.refused);
  }

  #takePartial(): PartialFrame | undefined {
    const partial = this.#partial;
    this.#partial = undefined;
    partial?.free();
    clearTimeout(this.#deadlineTimer);
    return partial;
  }

  /** A message exceeds the limit: the receiver knows whether this peer may send larger ones. */
  #raiseLimit(): number {
    this.#maxMessage = this.#receiver.onLargeMessage?.() ?? this.#maxMessage;
    return this.#maxMessage;
  }

  #refuse(fds: readonly FdHandle[], cause: BerthError): void {
    closeAll(fds);
    this.#onOver(cause);
  }
}

function tooLarge(limit: number): BerthError {
  return new BerthError("MESSAGE_TOO_LARGE", `a message exceeds ${limit} bytes`);
}

function tooManyIncomplete(): BerthError {
  return new BerthError("MESSAGE_TOO_LARGE", "incomplete messages of this user hold too much memory");
}

function cutOff(): BerthError {
  return new BerthError("PROTOCOL_ERROR", "the peer closed in mid-message");
}
