/**
 * One connected UNIX socket on the event loop. It owns the socket and its poll, and decides when to read, write and
 * close. src/wire/inbox.ts reads, src/wire/outbox.ts sends. It never interprets a message.
 */
import { type BerthError, SysError } from "./errors.ts";
import { type Borrowed, type FdHandle, NOTHING_BORROWED } from "./fd.ts";
import { DISCONNECT, LOOK, MAX_FDS, type Native, native, type Poll, READABLE, WRITABLE } from "./native.ts";
import { POLLHUP } from "./net/socket-constants.ts";
import { Inbox } from "./wire/inbox.ts";
import { Outbox } from "./wire/outbox.ts";
import type { DescriptorGate, Receiver, Turn, WireOptions } from "./wire/receiver.ts";

export type { DescriptorGate, GatedRead, Memory, Receiver, Turn, WireOptions } from "./wire/receiver.ts";

const DEFAULT_MAX_MESSAGE: number = 1024 * 1024;
const DEFAULT_MAX_QUEUE: number = 4 * 1024 * 1024;
const DEFAULT_DEADLINE_MS = 10_000;

/** shutdown(2): the peer can send no more. */
const SHUT_RD = 0;
const scrap = new Uint8Array(1);

/** The most messages to read after the peer has closed. A socket's default buffer holds fewer. */
const LAST_WORDS = 512;
/** As many of a wire that takes turns with others. */
const LAST_WORDS_IN_TURN = 16;

export class Wire {
  readonly #handle: FdHandle;
  readonly #sys: Native;
  readonly #receiver: Receiver;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #poll: Poll;
  readonly #turn: Turn | undefined;
  /** Bytes have arrived, and it is not yet this wire's turn to read them. */
  #awaitsTurn = false;
  /** Its turn has not come before the event loop looked again, so the poll is not asked about bytes meanwhile. */
  #awaitsLong = false;
  readonly #gate: DescriptorGate | undefined;
  /** What the poll watches for. */
  #events = 0;
  #reading = true;
  #ending = false;
  #lost = false;
  /** The peer will send no more, but may still read. It is reported only once. */
  #halfClosed = false;

  /** Takes ownership of a connected socket and starts to read. */
  constructor(handle: FdHandle, receiver: Receiver, options: WireOptions) {
    const {
      framing,
      maxMessage = DEFAULT_MAX_MESSAGE,
      maxFdsAhead = MAX_FDS,
      maxQueue = DEFAULT_MAX_QUEUE,
      deadline = DEFAULT_DEADLINE_MS,
      sys = native,
      turn,
      incomplete,
      unread,
      gate,
    } = options;
    // No object spread here: it costs microseconds per connection.
    const settings = { framing, maxMessage, maxFdsAhead, maxQueue, deadline, sys, incomplete, unread, gate };
    const finish = (cause: BerthError | undefined): void => this.#finish(cause);
    this.#handle = handle;
    this.#sys = sys;
    this.#receiver = receiver;
    this.#turn = turn;
    this.#gate = gate;
    this.#inbox = new Inbox(
      handle,
      receiver,
      settings,
      finish,
      () => this.#watch(),
      () => this.#mayGoOn(),
    );
    this.#outbox = new Outbox(handle, settings, () => this.#flush(), finish);
    this.#poll = new sys.Poll(handle.fd, (status, events) => this.#onReady(status, events));
    this.#watch();
  }

  get closed(): boolean {
    return !this.#handle.open;
  }

  /** Whether the connection is closing. Nothing more can be sent. If something failed, the receiver gets the cause. */
  get ending(): boolean {
    return this.#ending || this.#lost;
  }

  /** The socket, borrowed. */
  get fd(): number {
    return this.#handle.fd;
  }

  /** Whether messages are still queued. */
  get queued(): boolean {
    return this.#outbox.queued;
  }

  /** Whether part of a message has arrived. */
  get receiving(): boolean {
    return this.#inbox.receiving;
  }

  /**
   * Sends a message, or queues it if the kernel's buffer is full. `bytes` must not change afterwards. Returns false
   * when the queue is full or the connection is over. In that case nothing of the message is sent.
   */
  send(bytes: Uint8Array, borrowed: Borrowed = NOTHING_BORROWED): boolean {
    if (this.closed || this.ending) return false;
    const outcome = this.#outbox.send(bytes, borrowed);
    if (outcome === "sent") return true;
    if (outcome === "queued") this.#watch();
    else if (outcome !== "full") this.#fail(outcome);
    return outcome === "queued";
  }

  /**
   * Pauses or resumes reading. The wire notices that the peer has closed even while reading is paused. Most pauses are
   * over before anything comes, so the poll is asked about bytes until some do.
   */
  setReading(reading: boolean): void {
    this.#reading = reading;
    if (reading) this.#watch();
  }

  /** Sends the queued messages, then closes. The receiver is told, as for any other end. */
  end(): void {
    if (this.closed || this.#ending) return;
    this.#ending = true;
    this.#inbox.close();
    if (this.queued) this.#watch();
    else queueMicrotask(() => this.#finish(undefined));
  }

  /** Closes at once. The receiver is not told. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.#turn?.leave();
    this.#poll.close();
    this.#closeSocket();
    this.#inbox.close();
    this.#outbox.close();
  }

  /** Sets whether this connection keeps the process alive. */
  ref(): void {
    this.#poll.ref();
  }

  unref(): void {
    this.#poll.unref();
  }

  /** Descriptors in the socket's queue are closed with it, and that could wait. */
  #closeSocket(): void {
    this.#inbox.settle();
    const gate = this.#gate;
    if (gate === undefined || !gate.isOpen || this.#inbox.ended) return this.#handle.close();
    // After this nothing more gets into the queue.
    this.#sys.shutdown(this.#handle.fd, SHUT_RD);
    if (this.#sys.recvbytes(this.#handle.fd, scrap, LOOK) === 0) this.#handle.close();
    else gate.close(this.#handle);
  }

  #onReady(status: number, events: number): void {
    // libuv reports EBADF for every socket error, for example when the peer closed without reading everything.
    if (status < 0) return this.#lose(new SysError("poll", -status));
    if ((events & WRITABLE) !== 0) this.#flush();
    if ((events & READABLE) !== 0) {
      if (this.#reading) this.#readInTurn();
      else this.#watch();
    }
    const isIdle = !this.#reading || this.#inbox.waiting;
    if ((events & DISCONNECT) !== 0 && !this.closed && isIdle) this.#onDisconnect();
  }

  #readInTurn(): void {
    if (this.#turn === undefined) {
      this.#inbox.read();
    } else if (this.#awaitsTurn) {
      this.#awaitsLong = true;
      this.#watch();
    } else {
      this.#awaitsTurn = !this.#turn.run(this.#read);
    }
  }

  readonly #read = (): void => {
    if (this.closed) return;
    this.#awaitsTurn = false;
    if (this.#reading && !this.#ending) this.#inbox.read();
    if (!this.#awaitsLong) return;
    this.#awaitsLong = false;
    this.#watch();
  };

  /** Whether the read that runs now may deliver another message. */
  #mayGoOn(): boolean {
    return this.#reading && !this.ending && (this.#turn === undefined || this.#turn.goesOn());
  }

  /** The peer has closed its socket, or shut down half of it. Messages it sent before that are no longer useful. */
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
    const reading = this.#reading && !this.#ending && !this.#inbox.waiting;
    const writing = this.#outbox.wantsWritable;
    const readable = reading && !this.#awaitsLong ? READABLE : 0;
    const events = reading || writing ? readable | (writing ? WRITABLE : 0) : this.#whileIdle();
    if (events === this.#events) return;
    this.#events = events;
    const result = this.#poll.start(events);
    if (result < 0) this.#fail(new SysError("poll", -result));
  }

  #whileIdle(): number {
    return this.#halfClosed || this.#ending ? 0 : DISCONNECT;
  }

  /** Ends the connection from inside `send`. The receiver is told after the caller has returned. */
  #fail(cause: BerthError): void {
    this.#lost = true;
    queueMicrotask(() => this.#lose(cause));
  }

  /** Nothing more can be sent. Messages that the peer sent before it closed, such as a refusal, are still read. */
  #lose(cause: BerthError): void {
    this.#lost = true;
    const most = this.#turn === undefined ? LAST_WORDS : LAST_WORDS_IN_TURN;
    for (let left = most; left > 0 && this.#inbox.read(); left--);
    this.#finish(cause);
  }

  #finish(cause: BerthError | undefined): void {
    if (this.closed) return;
    this.close();
    this.#receiver.onClosed(cause);
  }
}
