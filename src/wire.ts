/**
 * One connected UNIX socket on the event loop: messages with their fds in, messages with their fds out. It knows
 * framing, queueing and deadlines; it knows nothing of what a message means.
 *
 * Sending borrows the caller's descriptors. What the kernel does not take at once is queued with duplicates of them,
 * so that a number closed and reused in the meantime cannot send somebody else's file (hazard 2; test/wire.test.ts).
 */
import { constants } from "node:os";
import { BerthError, SysError } from "./errors.ts";
import { closeAll, FdHandle, NO_FDS } from "./fd.ts";
import { MAX_FDS, type Native, native, type Poll, READABLE, RECEIVED_LENGTH, WRITABLE } from "./native.ts";

const { EAGAIN, EMSGSIZE } = constants.errno;
// Node does not name this one (asm-generic/errno.h).
const ETOOMANYREFS = 109;
/** recvmsg(2): the message was longer than the buffer. */
export const MSG_TRUNC = 0x20;

/** Descriptors to borrow for one message: the first `count` entries of `fds`. */
export interface Borrowed {
  readonly fds: Int32Array;
  readonly count: number;
}

/** A message without descriptors. */
export const NOTHING_BORROWED: Borrowed = { fds: new Int32Array(0), count: 0 };

/** Borrows the descriptors of some handles. */
export function borrow(handles: readonly FdHandle[]): Borrowed {
  return { fds: Int32Array.from(handles, (handle) => handle.fd), count: handles.length };
}

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

export const DEFAULT_MAX_MESSAGE: number = 1024 * 1024;
export const DEFAULT_MAX_QUEUE: number = 4 * 1024 * 1024;
export const DEFAULT_DEADLINE = 10_000;

/** Messages still taken from a peer that has gone: more than a socket's buffer holds by default. */
const LAST_WORDS = 512;

/** Frames of one length in a row after which a peer is taken to ask and wait. */
const STEADY = 8;

interface Queued {
  readonly bytes: Uint8Array;
  offset: number;
  /** Ours, until the first byte has gone: fds travel with it, once (hazard 10). */
  handles: readonly FdHandle[];
}

// Shared by every wire of this thread: a message is handled before the next one is read.
const incoming = Buffer.allocUnsafeSlow(64 * 1024);
const received = new Int32Array(RECEIVED_LENGTH);

export class Wire {
  readonly #handle: FdHandle;
  readonly #receiver: Receiver;
  readonly #sys: Native;
  readonly #poll: Poll;
  readonly #framed: boolean;
  readonly #maxMessage: number;
  readonly #maxFdsAhead: number;
  readonly #maxQueue: number;
  readonly #deadline: number;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  #events = 0;
  #reading = true;
  #ending = false;
  #lost = false;
  #retryDelay = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #sendTimer: NodeJS.Timeout | undefined;
  #receiveTimer: NodeJS.Timeout | undefined;
  /** How long the last frames were, and how many in a row; then a view of just that length. See {@link #receive}. */
  #lastLength = 0;
  #sameLength = 0;
  #expected: Buffer | undefined;
  /** The part of a frame that has arrived, and the fds that came with its first byte. */
  #partial: Buffer | undefined;
  #partialLength = 0;
  #partialFds: readonly FdHandle[] = NO_FDS;

  /** Takes ownership of a connected socket and starts to read. */
  constructor(handle: FdHandle, receiver: Receiver, options: WireOptions) {
    this.#handle = handle;
    this.#receiver = receiver;
    this.#sys = options.sys ?? native;
    this.#framed = options.framing === "nul";
    this.#maxMessage = options.maxMessage ?? DEFAULT_MAX_MESSAGE;
    this.#maxFdsAhead = options.maxFdsAhead ?? MAX_FDS;
    this.#maxQueue = options.maxQueue ?? DEFAULT_MAX_QUEUE;
    this.#deadline = options.deadline ?? DEFAULT_DEADLINE;
    this.#poll = new this.#sys.Poll(handle.fd, (status, events) => this.#onReady(status, events));
    this.#watch();
  }

  get closed(): boolean {
    return !this.#handle.open;
  }

  /** Whether it is about to close: nothing more can be sent, and the receiver hears why if something failed. */
  get ending(): boolean {
    return this.#ending || this.#lost;
  }

  /** The socket, borrowed. */
  get fd(): number {
    return this.#handle.fd;
  }

  /** Whether something still waits for the peer to read. */
  get queued(): boolean {
    return this.#queue.length > 0;
  }

  /** Whether part of a message has arrived. */
  get receiving(): boolean {
    return this.#partialLength > 0;
  }

  /**
   * Sends a message, at once if the kernel takes it, else queued. `bytes` must not change afterwards. Returns false
   * when the queue is full or the connection is over: then nothing of the message was or will be sent.
   */
  send(bytes: Uint8Array, borrowed: Borrowed = NOTHING_BORROWED): boolean {
    if (!this.#handle.open || this.#ending || this.#lost) return false;
    if (this.#queue.length === 0) {
      const sent = this.#sys.sendmsg(this.#handle.fd, bytes, 0, borrowed.fds, borrowed.count);
      if (sent === bytes.length) return true;
      if (sent >= 0) return this.#enqueue(bytes, sent, NO_FDS);
      if (sent !== -EAGAIN && sent !== -ETOOMANYREFS) {
        this.#fail(new SysError("sendmsg", -sent));
        return false;
      }
      if (sent === -ETOOMANYREFS) this.#backOff();
    }
    if (this.#queue.length > 0 && this.#queuedBytes + bytes.length > this.#maxQueue) return false;
    const handles = this.#pin(borrowed);
    return handles !== undefined && this.#enqueue(bytes, 0, handles);
  }

  /** Stops reading (backpressure), and goes on. */
  setReading(reading: boolean): void {
    this.#reading = reading;
    this.#watch();
  }

  /** Sends what is queued, then closes. The receiver hears of it as of any other end. */
  end(): void {
    if (this.closed || this.#ending) return;
    this.#ending = true;
    this.#reading = false;
    if (this.#queue.length === 0) queueMicrotask(() => this.#finish(undefined));
    else this.#watch();
  }

  /** Closes at once. The receiver is not told: it asked. */
  close(): void {
    this.#release();
  }

  /** Whether this connection alone keeps the process alive. */
  ref(): void {
    this.#poll.ref();
  }

  unref(): void {
    this.#poll.unref();
  }

  #enqueue(bytes: Uint8Array, offset: number, handles: readonly FdHandle[]): boolean {
    this.#queue.push({ bytes, offset, handles });
    this.#queuedBytes += bytes.length - offset;
    if (this.#deadline > 0) {
      this.#sendTimer ??= setTimeout(() => {
        this.#finish(new BerthError("CONNECTION_CLOSED", `the peer has not read for ${this.#deadline} ms`));
      }, this.#deadline).unref();
    }
    this.#watch();
    return true;
  }

  /** Duplicates of what a message borrowed; undefined (and the connection fails) when there is no room for them. */
  #pin(borrowed: Borrowed): readonly FdHandle[] | undefined {
    if (borrowed.count === 0) return NO_FDS;
    const handles: FdHandle[] = [];
    for (let index = 0; index < borrowed.count; index++) {
      const fd = this.#sys.dup(borrowed.fds[index] ?? -1);
      if (fd < 0) {
        closeAll(handles);
        this.#fail(new SysError("fcntl F_DUPFD_CLOEXEC", -fd));
        return undefined;
      }
      handles.push(FdHandle.adopt(fd, this.#sys));
    }
    return handles;
  }

  #flush(): void {
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      const borrowed = head.handles.length === 0 ? NOTHING_BORROWED : borrow(head.handles);
      const sent = this.#sys.sendmsg(this.#handle.fd, head.bytes, head.offset, borrowed.fds, borrowed.count);
      if (sent === -EAGAIN) return this.#watch();
      if (sent === -ETOOMANYREFS) return this.#backOff();
      if (sent < 0) return this.#lose(new SysError("sendmsg", -sent));
      this.#retryDelay = 0;
      closeAll(head.handles);
      head.handles = NO_FDS;
      head.offset += sent;
      this.#queuedBytes -= sent;
      this.#sendTimer?.refresh();
      if (head.offset < head.bytes.length) return this.#watch();
      this.#queue.shift();
    }
    clearTimeout(this.#sendTimer);
    this.#sendTimer = undefined;
    if (this.#ending) return this.#finish(undefined);
    this.#watch();
    this.#receiver.onDrained?.();
  }

  /** ETOOMANYREFS: too many fds of this user are in flight. The socket stays writable, so only a timer helps (unix(7)). */
  #backOff(): void {
    this.#retryDelay = Math.min(Math.max(this.#retryDelay * 2, 5), 500);
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.#flush();
    }, this.#retryDelay).unref();
    this.#watch();
  }

  #onReady(status: number, events: number): void {
    // libuv says EBADF for any error of the socket, such as a peer that closed before it had read everything.
    if (status < 0) return this.#lose(new SysError("poll", -status));
    if ((events & WRITABLE) !== 0) this.#flush();
    if ((events & READABLE) !== 0 && this.#reading && this.#handle.open) this.#receive();
  }

  /**
   * Reads one frame, or a message. Finding a frame's end first (recvframe) costs one more system call; a peer that
   * asks and waits does not need it, since no second frame can be there to be mixed up with. Such a peer is known by
   * frames of one length without fds, and is then read with room for no more than that length. Returns whether
   * there may be more to read.
   */
  #receive(): boolean {
    const size =
      this.#expected !== undefined
        ? this.#sys.recvmsg(this.#handle.fd, this.#expected, 0, received)
        : this.#framed
          ? this.#sys.recvframe(this.#handle.fd, incoming, 0, received)
          : this.#sys.recvmsg(this.#handle.fd, incoming, 0, received);
    if (size === -EAGAIN) return false;
    this.#accept(size);
    return this.#handle.open;
  }

  #accept(size: number): void {
    if (size === -EMSGSIZE) return this.#finish(truncated());
    if (size < 0) return this.#finish(new SysError("recvmsg", -size));
    const fds = this.#adoptReceived();
    if (size === 0 && fds.length === 0) {
      const cut =
        this.#partialLength > 0 ? new BerthError("PROTOCOL_ERROR", "the peer closed in mid-message") : undefined;
      return this.#finish(cut);
    }
    if (!this.#framed) return this.#acceptMessage(size, fds);
    if (size > this.#maxMessage) {
      closeAll(fds);
      return this.#finish(tooLarge(this.#maxMessage));
    }
    if (this.#expected !== undefined && incoming.indexOf(0) !== size - 1) return this.#acceptUnexpected(size, fds);
    if (this.#partialLength > 0) return this.#acceptMore(size, fds);
    if (incoming[size - 1] !== 0) return this.#beginPartial(size, fds);
    this.#expect(size, fds.length);
    this.#receiver.onMessage(incoming, size - 1, fds);
  }

  #expect(size: number, fds: number): void {
    this.#sameLength = size === this.#lastLength && fds === 0 ? this.#sameLength + 1 : 0;
    this.#lastLength = size;
    if (this.#sameLength === 0) this.#expected = undefined;
    else if (this.#sameLength === STEADY) this.#expected = incoming.subarray(0, size);
  }

  /**
   * A peer that was read without looking for the end of its frame has begun to pipeline, or to send longer ones. What
   * came is at most one frame's length; fds in it came with the last frame begun, for each sendmsg(2) of theirs ends
   * the read. From now on the ends are looked for again.
   */
  #acceptUnexpected(size: number, fds: readonly FdHandle[]): void {
    this.#expected = undefined;
    this.#sameLength = 0;
    this.#lastLength = 0;
    const bytes = Buffer.from(incoming.subarray(0, size));
    const last = bytes.lastIndexOf(0, size - 2) + 1;
    for (let start = 0; start < size; ) {
      if (this.#ending || this.closed) return closeAll(fds);
      const end = bytes.indexOf(0, start);
      const own = start === last ? fds : NO_FDS;
      if (end < 0) {
        bytes.copy(incoming, 0, start);
        return this.#beginPartial(size - start, own);
      }
      this.#receiver.onMessage(bytes.subarray(start, end), end - start, own);
      start = end + 1;
    }
  }

  #adoptReceived(): readonly FdHandle[] {
    const count = received[0] ?? 0;
    if (count === 0) return NO_FDS;
    return Array.from(received.subarray(2, 2 + count), (fd) => FdHandle.adopt(fd, this.#sys));
  }

  #acceptMessage(size: number, fds: readonly FdHandle[]): void {
    if (((received[1] ?? 0) & MSG_TRUNC) !== 0) {
      closeAll(fds);
      return this.#finish(tooLarge(incoming.length));
    }
    this.#receiver.onMessage(incoming, size, fds);
  }

  #beginPartial(size: number, fds: readonly FdHandle[]): void {
    if (fds.length > this.#maxFdsAhead) {
      closeAll(fds);
      const problem = `a message carries ${fds.length} descriptors; at most ${this.#maxFdsAhead} are taken`;
      return this.#finish(new BerthError("PROTOCOL_ERROR", problem));
    }
    this.#partialFds = fds;
    if (this.#append(size) && this.#deadline > 0) {
      this.#receiveTimer = setTimeout(() => {
        this.#finish(new BerthError("PROTOCOL_ERROR", `a message took longer than ${this.#deadline} ms to arrive`));
      }, this.#deadline).unref();
    }
  }

  #acceptMore(size: number, fds: readonly FdHandle[]): void {
    if (fds.length > 0) {
      closeAll(fds);
      return this.#finish(
        new BerthError("PROTOCOL_ERROR", "fds came in the middle of a message, not with its first byte"),
      );
    }
    if (!this.#append(size)) return;
    const whole = this.#partial;
    const length = this.#partialLength - 1;
    if (whole === undefined || whole[length] !== 0) return;
    const owned = this.#partialFds;
    this.#endPartial();
    this.#receiver.onMessage(whole, length, owned);
  }

  /** Adds what was read to the begun frame; false when that made it too large and the connection ended. */
  #append(size: number): boolean {
    const length = this.#partialLength + size;
    if (length > this.#maxMessage) {
      this.#finish(tooLarge(this.#maxMessage));
      return false;
    }
    let buffer = this.#partial;
    if (buffer === undefined || buffer.length < length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(4096, length * 2));
      buffer?.copy(larger, 0, 0, this.#partialLength);
      buffer = larger;
    }
    incoming.copy(buffer, this.#partialLength, 0, size);
    this.#partial = buffer;
    this.#partialLength = length;
    return true;
  }

  #endPartial(): void {
    clearTimeout(this.#receiveTimer);
    this.#receiveTimer = undefined;
    this.#partial = undefined;
    this.#partialLength = 0;
    this.#partialFds = NO_FDS;
  }

  #watch(): void {
    if (!this.#handle.open) return;
    const writing = this.#queue.length > 0 && this.#retryTimer === undefined;
    const events = (this.#reading ? READABLE : 0) | (writing ? WRITABLE : 0);
    if (events === this.#events) return;
    this.#events = events;
    const result = this.#poll.start(events);
    if (result < 0) this.#fail(new SysError("poll", -result));
  }

  /** Ends the connection from inside `send`: the receiver hears of it after the caller has returned. */
  #fail(cause: BerthError): void {
    this.#lost = true;
    queueMicrotask(() => this.#lose(cause));
  }

  /** Nothing more can be sent; what the peer said before it went, a refusal perhaps, is still heard. */
  #lose(cause: BerthError): void {
    this.#lost = true;
    for (let left = LAST_WORDS; left > 0 && !this.#ending && this.#handle.open && this.#receive(); left--);
    this.#finish(cause);
  }

  #finish(cause: BerthError | undefined): void {
    if (!this.#handle.open) return;
    this.#release();
    this.#receiver.onClosed(cause);
  }

  #release(): void {
    if (!this.#handle.open) return;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#sendTimer);
    this.#poll.close();
    this.#handle.close();
    for (const queued of this.#queue) closeAll(queued.handles);
    this.#queue.length = 0;
    closeAll(this.#partialFds);
    this.#endPartial();
  }
}

function tooLarge(limit: number): BerthError {
  return new BerthError("MESSAGE_TOO_LARGE", `a message exceeds ${limit} bytes`);
}

function truncated(): BerthError {
  return new BerthError(
    "DESCRIPTORS_TRUNCATED",
    "a message carried more descriptors than this process may open; raise its limit (RLIMIT_NOFILE, `ulimit -n`)",
  );
}
