/**
 * One connected UNIX socket on the event loop: owns it and its poll, and decides when to read, to write and to end.
 * What comes in is src/wire/inbox.ts, what goes out src/wire/outbox.ts. It never knows what a message means.
 */
import { type BerthError, SysError } from "./errors.ts";
import { type Borrowed, type FdHandle, NOTHING_BORROWED } from "./fd.ts";
import { DISCONNECT, MAX_FDS, type Native, native, type Poll, READABLE, WRITABLE } from "./native.ts";
import { POLLHUP } from "./socket-constants.ts";
import { Inbox } from "./wire/inbox.ts";
import { Outbox } from "./wire/outbox.ts";
import type { Receiver, WireOptions } from "./wire/receiver.ts";

export type { Receiver, WireOptions } from "./wire/receiver.ts";

const DEFAULT_MAX_MESSAGE: number = 1024 * 1024;
const DEFAULT_MAX_QUEUE: number = 4 * 1024 * 1024;
const DEFAULT_DEADLINE = 10_000;

/** Messages still taken from a peer that has gone: more than a socket's buffer holds by default. */
const LAST_WORDS = 512;

export class Wire {
  readonly #handle: FdHandle;
  readonly #sys: Native;
  readonly #receiver: Receiver;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #poll: Poll;
  /** What the poll watches for. */
  #events = 0;
  #reading = true;
  #ending = false;
  #lost = false;
  /** The peer will send no more, but may still read: that is not to be told again. */
  #halfClosed = false;

  /** Takes ownership of a connected socket and starts to read. */
  constructor(handle: FdHandle, receiver: Receiver, options: WireOptions) {
    const {
      framing,
      maxMessage = DEFAULT_MAX_MESSAGE,
      maxFdsAhead = MAX_FDS,
      maxQueue = DEFAULT_MAX_QUEUE,
      deadline = DEFAULT_DEADLINE,
      sys = native,
    } = options;
    // Not a spread of defaults and options: that takes microseconds of each connection.
    const settings = { framing, maxMessage, maxFdsAhead, maxQueue, deadline, sys };
    const finish = (cause: BerthError | undefined): void => this.#finish(cause);
    this.#handle = handle;
    this.#sys = sys;
    this.#receiver = receiver;
    this.#inbox = new Inbox(handle, receiver, settings, finish);
    this.#outbox = new Outbox(handle, settings, () => this.#flush(), finish);
    this.#poll = new sys.Poll(handle.fd, (status, events) => this.#onReady(status, events));
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
    return this.#outbox.queued;
  }

  /** Whether part of a message has arrived. */
  get receiving(): boolean {
    return this.#inbox.receiving;
  }

  /**
   * Sends a message, at once if the kernel takes it, else queued. `bytes` must not change afterwards. Returns false
   * when the queue is full or the connection is over: then nothing of the message was or will be sent.
   */
  send(bytes: Uint8Array, borrowed: Borrowed = NOTHING_BORROWED): boolean {
    if (this.closed || this.ending) return false;
    const outcome = this.#outbox.send(bytes, borrowed);
    if (outcome === "sent") return true;
    if (outcome === "queued") this.#watch();
    else if (outcome !== "full") this.#fail(outcome);
    return outcome === "queued";
  }

  /** Stops reading, and goes on. The end of the peer is noticed also while nothing is read. */
  setReading(reading: boolean): void {
    this.#reading = reading;
    this.#watch();
  }

  /** Sends what is queued, then closes. The receiver hears of it as of any other end. */
  end(): void {
    if (this.closed || this.#ending) return;
    this.#ending = true;
    this.#inbox.close();
    if (this.queued) this.#watch();
    else queueMicrotask(() => this.#finish(undefined));
  }

  /** Closes at once. The receiver is not told: it asked. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.#poll.close();
    this.#handle.close();
    this.#inbox.close();
    this.#outbox.close();
  }

  /** Whether this connection alone keeps the process alive. */
  ref(): void {
    this.#poll.ref();
  }

  unref(): void {
    this.#poll.unref();
  }

  #onReady(status: number, events: number): void {
    // libuv says EBADF for any error of the socket, such as a peer that closed before it had read everything.
    if (status < 0) return this.#lose(new SysError("poll", -status));
    if ((events & WRITABLE) !== 0) this.#flush();
    if ((events & READABLE) !== 0 && this.#reading) this.#inbox.read();
    if ((events & DISCONNECT) !== 0 && !this.closed && !this.#reading) this.#onDisconnect();
  }

  /** It has closed its socket, or shut down half of it; what it may have sent before it went is of no use any more. */
  #onDisconnect(): void {
    if ((this.#sys.pollNow(this.#handle.fd, 0) & POLLHUP) !== 0) return this.#finish(undefined);
    this.#halfClosed = true;
    this.#watch();
  }

  #flush(): void {
    const outcome = this.#outbox.flush();
    if (outcome instanceof SysError) return this.#lose(outcome);
    if (outcome === "sent" && this.#ending) return this.#finish(undefined);
    this.#watch();
    if (outcome === "sent") this.#receiver.onDrained?.();
  }

  #watch(): void {
    if (this.closed) return;
    const reading = this.#reading && !this.#ending;
    const writing = this.#outbox.wantsWritable;
    const events = reading || writing ? (reading ? READABLE : 0) | (writing ? WRITABLE : 0) : this.#whileIdle();
    if (events === this.#events) return;
    this.#events = events;
    const result = this.#poll.start(events);
    if (result < 0) this.#fail(new SysError("poll", -result));
  }

  #whileIdle(): number {
    return this.#halfClosed || this.#ending ? 0 : DISCONNECT;
  }

  /** Ends the connection from inside `send`: the receiver hears of it after the caller has returned. */
  #fail(cause: BerthError): void {
    this.#lost = true;
    queueMicrotask(() => this.#lose(cause));
  }

  /** Nothing more can be sent; what the peer said before it went, a refusal perhaps, is still heard. */
  #lose(cause: BerthError): void {
    this.#lost = true;
    for (let left = LAST_WORDS; left > 0 && this.#inbox.read(); left--);
    this.#finish(cause);
  }

  #finish(cause: BerthError | undefined): void {
    if (this.closed) return;
    this.close();
    this.#receiver.onClosed(cause);
  }
}
