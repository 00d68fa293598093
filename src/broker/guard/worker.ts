/**
 * One worker of the guard, for one user. Requests queue in its channel; a request without an answer in time means that
 * the user has made it wait. It is killed then, and everything that was asked of it fails. It decides nothing.
 */
import { constants } from "node:os";
import { isScarcity } from "../../errors.ts";
import { closeAll, type FdCalls, FdHandle, NO_FDS } from "../../fd.ts";
import { type Native, type Poll, READABLE, RECEIVED_LENGTH } from "../../native.ts";
import { SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketPair } from "../../net/socket-queries.ts";
import type { Zygote } from "./zygote.ts";

const { EAGAIN } = constants.errno;
const { SIGKILL } = constants.signals;

/** How long a worker may take for one request, in milliseconds. */
const ANSWER_TIMEOUT_MS = 2000;

const SO_SNDBUFFORCE = 32;
const CHANNEL_BYTES = 1024 * 1024;

// Shared by all workers: a reply is handled before the next one is read. A reply holds a message of 64 KiB.
const incoming = Buffer.allocUnsafeSlow(72 * 1024);
const received = new Int32Array(RECEIVED_LENGTH);

/** Why there is no reply: it took too long, or the worker ended before its turn came. */
export type NoReply = "stuck" | "unavailable";

/** A reply, valid until the callback returns, and its descriptors, which the callback owns. */
export type OnReply = (reply: Buffer | NoReply, fds: readonly FdHandle[]) => void;

interface Pending {
  readonly onReply: OnReply;
  readonly since: number;
  /** Replies that are still to come. */
  left: number;
}

export interface GuardWorkerOptions {
  readonly sys: Native;
  /** How descriptors that a worker passes on are closed. */
  readonly received: FdCalls;
  /** It did not answer in time, is killed, and takes no more requests. */
  readonly onStuck: (worker: GuardWorker) => void;
  /** It takes no more requests. Its process has ended, unless it was killed and is stuck. Called once or twice. */
  readonly onEnd: (worker: GuardWorker) => void;
}

export class GuardWorker {
  readonly #sys: Native;
  readonly #received: FdCalls;
  readonly #channel: FdHandle;
  readonly #poll: Poll;
  readonly #pending = new Map<number, Pending>();
  readonly #onEnd: (worker: GuardWorker) => void;
  readonly #onStuck: (worker: GuardWorker) => void;
  #lastId = 0;
  #timer: NodeJS.Timeout | undefined;
  #pidfd: FdHandle | undefined;
  #exit: Poll | undefined;
  #killed = false;
  /** Called when its process has ended after it was killed: nothing holds up what it did any more. */
  onFreed: (() => void) | undefined;
  /** When it last had nothing to do, by performance.now(). */
  idleSince: number = performance.now();

  private constructor(channel: FdHandle, { sys, received, onStuck, onEnd }: GuardWorkerOptions) {
    this.#sys = sys;
    this.#received = received;
    this.#channel = channel;
    this.#onStuck = onStuck;
    this.#onEnd = onEnd;
    this.#poll = new sys.Poll(channel.fd, () => this.#read());
    this.#poll.start(READABLE);
    this.#poll.unref();
  }

  /**
   * Forks one. It takes requests at once. Undefined when the zygote does not take the request, or there is no
   * descriptor left.
   */
  static fork(zygote: Zygote, keepNetAdmin: boolean, options: GuardWorkerOptions): GuardWorker | undefined {
    try {
      return GuardWorker.#fork(zygote, keepNetAdmin, options);
    } catch (error) {
      if (!isScarcity(error)) throw error;
      return undefined;
    }
  }

  static #fork(zygote: Zygote, keepNetAdmin: boolean, options: GuardWorkerOptions): GuardWorker | undefined {
    const [ours, theirs] = socketPair("seqpacket", options.sys);
    using channel = theirs;
    options.sys.setfl(channel.fd, 0);
    // Room for a message's descriptors, each closed with two requests. Without privilege there is less.
    options.sys.setsockopt(ours.fd, SOL_SOCKET, SO_SNDBUFFORCE, CHANNEL_BYTES);
    const worker = new GuardWorker(ours, options);
    const isAsked = zygote.fork(channel.fd, keepNetAdmin ? "net-admin worker" : "worker", (result) => {
      if (typeof result === "number") worker.#fail();
      else worker.#isBorn(result.pidfd);
    });
    if (isAsked) return worker;
    worker.#pending.clear();
    worker.close();
    return undefined;
  }

  get ended(): boolean {
    return !this.#channel.open;
  }

  get busy(): boolean {
    return this.#pending.size > 0;
  }

  /** The number of the next request. */
  nextId(): number {
    this.#lastId = (this.#lastId + 1) & 0x7fffffff;
    return this.#lastId;
  }

  /**
   * Sends a request, with borrowed descriptors. `onReply` gets each of its replies, or why there is none. Returns 0 or
   * -errno; then the request was not sent.
   */
  request(id: number, bytes: Uint8Array, fds: Int32Array, onReply: OnReply, replies = 1): number {
    if (this.ended) return -constants.errno.EPIPE;
    const sent = this.#sys.sendmsg(this.#channel.fd, bytes, 0, fds, fds.length);
    if (sent < 0) return sent;
    this.#pending.set(id, { onReply, since: performance.now(), left: replies });
    this.#watch();
    return 0;
  }

  /** Sends a request that has no reply. Returns 0 or -errno. */
  tell(bytes: Uint8Array, fds: Int32Array): number {
    if (this.ended) return -constants.errno.EPIPE;
    return Math.min(0, this.#sys.sendmsg(this.#channel.fd, bytes, 0, fds, fds.length));
  }

  /** Takes no more requests. It carries out those that it has, and ends. Idempotent. */
  close(): void {
    clearTimeout(this.#timer);
    this.#poll.close();
    this.#channel.close();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { onReply } of pending) onReply("unavailable", []);
    if (this.#pidfd === undefined) return;
    // Nobody waits for its exit unless it was killed.
    if (!this.#killed) this.#forget();
  }

  /** Lets go of a process that may never end. */
  forget(): void {
    this.close();
    this.#forget();
  }

  #forget(): void {
    this.#exit?.close();
    this.#exit = undefined;
    this.#pidfd?.close();
    this.#pidfd = undefined;
  }

  #isBorn(pidfd: FdHandle | undefined): void {
    if (pidfd === undefined || (this.ended && !this.#killed)) return pidfd?.close();
    this.#pidfd = pidfd;
    this.#exit = new this.#sys.Poll(pidfd.fd, () => this.#hasEnded());
    this.#exit.start(READABLE);
    this.#exit.unref();
    if (this.#killed) this.#sys.pidfdSignal(pidfd.fd, SIGKILL);
  }

  #hasEnded(): void {
    this.#forget();
    this.#fail();
  }

  /** There is no process any more that answers. */
  #fail(): void {
    this.close();
    this.#onEnd(this);
    this.onFreed?.();
    this.onFreed = undefined;
  }

  #watch(): void {
    this.#timer ??= setTimeout(() => this.#look(), ANSWER_TIMEOUT_MS).unref();
  }

  #look(): void {
    this.#timer = undefined;
    const [oldest] = this.#pending.values();
    if (oldest === undefined) return;
    const age = performance.now() - oldest.since;
    if (age < ANSWER_TIMEOUT_MS) {
      this.#timer = setTimeout(() => this.#look(), ANSWER_TIMEOUT_MS - age + 1).unref();
      return;
    }
    // What has come while this process itself was held up is no wait of the worker.
    this.#read();
    const [first] = this.#pending;
    if (first?.[1] !== oldest) return this.#watch();
    this.#kill(first);
  }

  /** It carries requests out in their order, so only the first one is to blame. */
  #kill([id, { onReply }]: readonly [number, Pending]): void {
    this.#killed = true;
    if (this.#pidfd !== undefined) this.#sys.pidfdSignal(this.#pidfd.fd, SIGKILL);
    this.#pending.delete(id);
    this.#onStuck(this);
    onReply("stuck", []);
    this.close();
  }

  #read(): void {
    while (!this.ended) {
      const size = this.#sys.recvmsg(this.#channel.fd, incoming, 0, received);
      if (size === -EAGAIN) return;
      if (size <= 0) return this.#fail();
      const count = received[0] ?? 0;
      const fds = count === 0 ? NO_FDS : this.#adopt(count);
      this.#deliver(incoming.subarray(0, size), fds);
      // Nothing more is asked of it. Should it have ended, the poll tells.
      if (this.#pending.size === 0) return;
    }
  }

  #adopt(count: number): readonly FdHandle[] {
    return Array.from(received.subarray(2, 2 + count), (fd) => FdHandle.adoptForeign(fd, this.#received));
  }

  #deliver(reply: Buffer, fds: readonly FdHandle[]): void {
    const id = reply.readInt32LE(0);
    const pending = this.#pending.get(id);
    if (pending === undefined) return closeAll(fds);
    if (--pending.left === 0) this.#pending.delete(id);
    if (this.#pending.size === 0) this.idleSince = performance.now();
    pending.onReply(reply, fds);
  }
}
