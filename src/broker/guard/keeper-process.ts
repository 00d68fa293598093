/** The keeper's process, and the messages to and from it (native/guard/protocol.h). It decides nothing. */
import { constants } from "node:os";
import type { FdHandle } from "../../fd.ts";
import { type Native, type Poll, READABLE, RECEIVED_LENGTH } from "../../native.ts";
import { POLLIN, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketPair } from "../../net/socket-queries.ts";
import { encodeWords, KEEP, LEAVE } from "./protocol.ts";
import type { Zygote } from "./zygote.ts";

const { EAGAIN, EPIPE } = constants.errno;

const SO_SNDBUFFORCE = 32;
const CHANNEL_BYTES = 1024 * 1024;
const REPLY_BYTES = 8;

/** shutdown(2). */
const SHUT_WR = 1;

const NO_FDS = new Int32Array(0);

export interface KeeperProcessOptions {
  readonly sys: Native;
  /** It is known which process it is. The pidfd is borrowed. */
  readonly onBorn: (pid: number, pidfd: number) => void;
  /** A reply to {@link KeeperProcess.leave}: 0 when all is closed, 1 before that when it takes long, or -errno. */
  readonly onReply: (id: number, value: number) => void;
  /** It has ended. Called once, and not after {@link KeeperProcess.close}. */
  readonly onEnd: () => void;
}

export class KeeperProcess {
  readonly #options: KeeperProcessOptions;
  readonly #channel: FdHandle;
  readonly #poll: Poll;

  private constructor(channel: FdHandle, options: KeeperProcessOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#poll = new options.sys.Poll(channel.fd, () => this.read());
    this.#poll.start(READABLE);
    this.#poll.unref();
  }

  /** Forks it. It takes messages at once. Undefined when the zygote does not answer. Throws SYSTEM_ERROR. */
  static fork(zygote: Zygote, options: KeeperProcessOptions): KeeperProcess | undefined {
    const { sys } = options;
    const [ours, theirs] = socketPair("seqpacket", sys);
    using channel = theirs;
    sys.setfl(channel.fd, 0);
    // Room for many messages. Without privilege there is less.
    sys.setsockopt(ours.fd, SOL_SOCKET, SO_SNDBUFFORCE, CHANNEL_BYTES);
    const keeper = new KeeperProcess(ours, options);
    const isAsked = zygote.fork(channel.fd, "keeper", (result) => {
      if (typeof result === "number") keeper.#end();
      else keeper.#isBorn(result.pid, result.pidfd);
    });
    if (isAsked) return keeper;
    keeper.close(0);
    return undefined;
  }

  /** Gives it borrowed descriptors for these places. Returns 0 or -errno; then it has none of them. */
  keep(places: readonly number[], fds: readonly number[]): number {
    return this.#send(encodeWords(KEEP, 0, ...places), Int32Array.from(fds));
  }

  /** Has it close what is in these places. Returns 0 or -errno; then it was not asked. */
  leave(id: number, places: readonly number[]): number {
    return this.#send(encodeWords(LEAVE, id, ...places), NO_FDS);
  }

  /** Reads the replies that have come. */
  read(): void {
    const reply = Buffer.alloc(REPLY_BYTES);
    const received = new Int32Array(RECEIVED_LENGTH);
    while (this.#channel.open) {
      const size = this.#options.sys.recvmsg(this.#channel.fd, reply, 0, received);
      if (size === -EAGAIN) return;
      if (size <= 0) return this.#end();
      this.#options.onReply(reply.readInt32LE(0), reply.readInt32LE(4));
    }
  }

  /** Waits for a reply for so long, and reads it. Returns whether it is still there. */
  readWithin(milliseconds: number): boolean {
    if (!this.#channel.open) return false;
    this.#options.sys.pollFor(this.#channel.fd, POLLIN, Math.ceil(milliseconds));
    this.read();
    return this.#channel.open;
  }

  /** It closes everything, and ends. Waits for that for so long. Idempotent. */
  close(milliseconds: number): void {
    if (!this.#channel.open) return;
    this.#poll.close();
    if (milliseconds > 0 && this.#options.sys.shutdown(this.#channel.fd, SHUT_WR) === 0) this.#drain(milliseconds);
    this.#channel.close();
  }

  /** Until it closes its end. */
  #drain(milliseconds: number): void {
    const { sys } = this.#options;
    const deadline = performance.now() + milliseconds;
    const reply = Buffer.alloc(REPLY_BYTES);
    const received = new Int32Array(RECEIVED_LENGTH);
    for (let left = milliseconds; left > 0; left = deadline - performance.now()) {
      sys.pollFor(this.#channel.fd, POLLIN, Math.ceil(left));
      const size = sys.recvmsg(this.#channel.fd, reply, 0, received);
      if (size <= 0 && size !== -EAGAIN) return;
    }
  }

  #send(bytes: Uint8Array, fds: Int32Array): number {
    if (!this.#channel.open) return -EPIPE;
    return Math.min(0, this.#options.sys.sendmsg(this.#channel.fd, bytes, 0, fds, fds.length));
  }

  #isBorn(pid: number, received: FdHandle | undefined): void {
    using pidfd = received;
    if (this.#channel.open && pidfd !== undefined) this.#options.onBorn(pid, pidfd.fd);
  }

  #end(): void {
    if (!this.#channel.open) return;
    this.close(0);
    this.#options.onEnd();
  }
}
