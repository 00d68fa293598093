/**
 * The sending side of a wire: it sends messages with borrowed fds, or queues them in order if the kernel's buffer is
 * full. It never reads, watches or closes the socket. It reports the result of each message, and the wire acts.
 *
 * A queued message holds duplicates of its descriptors. Otherwise a number that is closed and reused meanwhile would
 * send another file (hazard 2; test/wire.test.ts).
 */
import { constants } from "node:os";
import { BerthError, SysError } from "../errors.ts";
import { type Borrowed, borrow, closeAll, FdHandle, NO_FDS, NOTHING_BORROWED } from "../fd.ts";
import type { Native } from "../native.ts";
import type { Memory, WireSettings } from "./receiver.ts";

const { EAGAIN, ENOBUFS } = constants.errno;
// Node does not name this one (asm-generic/errno.h).
const ETOOMANYREFS = 109;

/** The wait after ETOOMANYREFS: first, then doubled each time up to the longest. */
const FIRST_RETRY_MS = 5;
const LONGEST_RETRY_MS = 500;

/** A queued descriptor counts as so many bytes: the broker can have only so many open. */
const FD_BYTES = 16 * 1024;

/** All bytes were sent, some are queued, the queue is full and nothing is sent, or sending failed with an error. */
export type SendResult = "sent" | "queued" | "full" | SysError;

interface Queued {
  readonly bytes: Uint8Array;
  offset: number;
  /** Ours, until the first byte has gone: fds travel with it, once (hazard 10). */
  handles: readonly FdHandle[];
  /** What of the memory it still holds. */
  held: number;
}

export class Outbox {
  readonly #socket: FdHandle;
  readonly #maxQueue: number;
  readonly #deadline: number;
  readonly #memory: Memory | undefined;
  readonly #sys: Native;
  readonly #onRetry: () => void;
  readonly #onOver: (cause: BerthError) => void;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  #retryDelay = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;

  /** Borrows the socket. `onRetry`: call flush now. `onOver`: the peer did not read within the deadline. */
  constructor(socket: FdHandle, options: WireSettings, onRetry: () => void, onOver: (cause: BerthError) => void) {
    this.#socket = socket;
    this.#maxQueue = options.maxQueue;
    this.#deadline = options.deadline;
    this.#memory = options.unread;
    this.#sys = options.sys;
    this.#onRetry = onRetry;
    this.#onOver = onOver;
  }

  /** Whether messages are queued. */
  get queued(): boolean {
    return this.#queue.length > 0;
  }

  /** Whether the queue continues as soon as the socket is writable, and not only after a timer. */
  get wantsWritable(): boolean {
    return this.queued && this.#retryTimer === undefined;
  }

  /** Sends a message. Queues it if the queue is not empty or the kernel's buffer is full. */
  send(bytes: Uint8Array, borrowed: Borrowed): SendResult {
    if (this.#queue.length === 0) {
      const sent = this.#sys.sendmsg(this.#socket.fd, bytes, 0, borrowed.fds, borrowed.count);
      if (sent === bytes.length) return "sent";
      if (sent >= 0) return this.#enqueue(bytes, sent, NOTHING_BORROWED);
      if (sent === -ETOOMANYREFS) this.#backOff();
      else if (sent !== -EAGAIN) return new SysError("sendmsg", -sent);
    } else if (this.#queuedBytes + bytes.length > this.#maxQueue) return "full";
    return this.#enqueue(bytes, 0, borrowed);
  }

  /** Sends queued messages until the kernel's buffer is full. */
  flush(): Exclude<SendResult, "full"> {
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      const { fds, count } = borrow(head.handles);
      const sent = this.#sys.sendmsg(this.#socket.fd, head.bytes, head.offset, fds, count);
      if (sent === -EAGAIN) return "queued";
      if (sent === -ETOOMANYREFS) return this.#backOff();
      if (sent < 0) return new SysError("sendmsg", -sent);
      this.#retryDelay = 0;
      closeAll(head.handles);
      head.handles = NO_FDS;
      this.#release(head, sent + FD_BYTES * count);
      head.offset += sent;
      this.#queuedBytes -= sent;
      this.#deadlineTimer?.refresh();
      if (head.offset < head.bytes.length) return "queued";
      this.#queue.shift();
    }
    clearTimeout(this.#deadlineTimer);
    this.#deadlineTimer = undefined;
    return "sent";
  }

  /** Drops the queued messages and closes their duplicated descriptors. */
  close(): void {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#deadlineTimer);
    for (const message of this.#queue.splice(0)) {
      closeAll(message.handles);
      this.#release(message, message.held);
    }
  }

  #enqueue(bytes: Uint8Array, offset: number, borrowed: Borrowed): SendResult {
    const held = bytes.length - offset + FD_BYTES * borrowed.count;
    if (this.#memory?.take(held) === false) return offset === 0 ? "full" : new SysError("sendmsg", ENOBUFS);
    const handles = this.#pin(borrowed);
    if (handles instanceof SysError) {
      this.#memory?.give(held);
      return handles;
    }
    this.#queue.push({ bytes, offset, handles, held });
    this.#queuedBytes += bytes.length - offset;
    if (this.#deadline > 0) {
      this.#deadlineTimer ??= setTimeout(() => {
        this.#onOver(new BerthError("CONNECTION_CLOSED", `the peer has not read for ${this.#deadline} ms`));
      }, this.#deadline).unref();
    }
    return "queued";
  }

  #release(message: Queued, bytes: number): void {
    message.held -= bytes;
    this.#memory?.give(bytes);
  }

  /** Duplicates the descriptors that a message borrows (a tenant's stash may be among them), or returns the error. */
  #pin(borrowed: Borrowed): readonly FdHandle[] | SysError {
    if (borrowed.count === 0) return NO_FDS;
    const handles: FdHandle[] = [];
    for (let index = 0; index < borrowed.count; index++) {
      const fd = this.#sys.dup(borrowed.fds[index] ?? -1);
      if (fd < 0) {
        closeAll(handles);
        return new SysError("fcntl F_DUPFD_CLOEXEC", -fd);
      }
      handles.push(FdHandle.adoptForeign(fd, this.#sys));
    }
    return handles;
  }

  /**
   * ETOOMANYREFS: too many fds of this user are in flight. The socket stays writable, so only a timer helps (unix(7)).
   */
  #backOff(): "queued" {
    this.#retryDelay = Math.min(Math.max(this.#retryDelay * 2, FIRST_RETRY_MS), LONGEST_RETRY_MS);
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.#onRetry();
    }, this.#retryDelay).unref();
    return "queued";
  }
}
