/**
 * Plain descriptor passing for programs of one's own: messages with fds over a UNIX socket, without a protocol.
 * The broker's protocol is in src/varlink; this passes descriptors without any protocol.
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { constants } from "node:os";
import { abortError, BerthError, check, SysError } from "./errors.ts";
import { adoptReceived, borrow, closeAll, descriptorsTruncated, FdHandle, NOTHING_BORROWED } from "./fd.ts";
import { MAX_FDS, MSG_TRUNC, native, READABLE, RECEIVED_LENGTH, WRITABLE } from "./native.ts";
import { socketPair } from "./net/socket-queries.ts";
import type { SocketKind } from "./net/transport.ts";
import type { WaitOptions } from "./wait-options.ts";
import { Wire } from "./wire.ts";

const { EAGAIN, EMSGSIZE } = constants.errno;

/** A message and the descriptors that came with it, which are the receiver's to close or dispose. */
export class FdMessage implements Disposable {
  readonly data: Buffer;
  readonly fds: readonly FdHandle[];

  constructor(data: Buffer, fds: readonly FdHandle[]) {
    this.data = data;
    this.fds = fds;
  }

  [Symbol.dispose](): void {
    closeAll(this.fds);
  }
}

/** Messages that may wait to be received before the channel stops reading. */
const AHEAD = 16;

/**
 * A connected UNIX socket that sends and receives messages with descriptors. Seqpacket and datagram sockets keep
 * message boundaries; on a stream a message is whatever bytes came at once, at most one sender's message with fds.
 */
export class FdChannel implements Disposable {
  readonly #wire: Wire;
  readonly #waiting: (() => void)[] = [];
  readonly #messages: FdMessage[] = [];
  #ended = false;
  #failure: BerthError | undefined;

  /** Takes ownership of a connected UNIX socket. */
  constructor(socket: FdHandle) {
    this.#wire = new Wire(
      socket,
      {
        onMessage: (bytes, length, fds) => {
          this.#messages.push(new FdMessage(Buffer.from(bytes.subarray(0, length)), fds));
          if (this.#messages.length >= AHEAD) this.#wire.setReading(false);
          this.#wake();
        },
        onClosed: (cause) => {
          this.#ended = true;
          this.#failure = cause;
          this.#wake();
        },
        onDrained: () => this.#wake(),
      },
      { framing: "message", deadline: 0 },
    );
  }

  /** Two connected channels, as socketpair(2) makes them. Default: seqpacket. */
  static pair(kind: SocketKind = "seqpacket"): [FdChannel, FdChannel] {
    const [one, other] = socketPair(kind, native);
    return [new FdChannel(one), new FdChannel(other)];
  }

  /**
   * Sends bytes, at least one, with up to 253 descriptors, which stay the caller's. Resolves when the message has been
   * given to the kernel or queued behind others; waits while the queue is full.
   */
  async send(data: Uint8Array | string, fds: readonly FdHandle[] = [], options: WaitOptions = {}): Promise<void> {
    const bytes = checkMessage(data, fds);
    if (options.signal?.aborted) throw abortError(options.signal);
    while (!this.#wire.send(bytes, borrow(fds))) {
      if (this.#ended) throw this.#closedError();
      await this.#wait(options.signal);
    }
  }

  /** The next message, or undefined when the peer has closed. A message that comes after an abort is not lost. */
  async receive(options: WaitOptions = {}): Promise<FdMessage | undefined> {
    if (options.signal?.aborted) throw abortError(options.signal);
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        if (this.#messages.length === 0 && !this.#ended) this.#wire.setReading(true);
        return message;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await this.#wait(options.signal);
    }
  }

  /** Messages until the peer closes. */
  async *[Symbol.asyncIterator](): AsyncGenerator<FdMessage, void, void> {
    for (;;) {
      const message = await this.receive();
      if (message === undefined) return;
      yield message;
    }
  }

  /** Closes the socket and every descriptor that nobody has received. Idempotent. */
  close(): void {
    this.#ended = true;
    this.#wire.close();
    for (const message of this.#messages.splice(0)) closeAll(message.fds);
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError(signal));
      const abort = (): void => {
        const at = this.#waiting.indexOf(wake);
        if (at >= 0) this.#waiting.splice(at, 1);
        if (signal !== undefined) reject(abortError(signal));
      };
      const wake = (): void => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(wake);
    });
  }

  #closedError(): BerthError {
    return this.#failure ?? new BerthError("CONNECTION_CLOSED", "the channel is closed");
  }
}

/**
 * Sends one message with descriptors over a UNIX socket that stays the caller's. Waits while the socket is full.
 * On a stream socket all bytes are sent, and the descriptors travel with the first of them. A net.Socket first sends
 * what was written to it before; until this call is over, write nothing else to it.
 */
export async function sendFds(
  socket: number | Socket,
  fds: readonly FdHandle[],
  data: Uint8Array | string = "\0",
  options: WaitOptions = {},
): Promise<void> {
  const { signal } = options;
  const bytes = checkMessage(data, fds);
  if (typeof socket !== "number") await flushed(socket, signal);
  let borrowed = borrow(fds);
  for (let offset = 0; offset < bytes.length; ) {
    if (signal?.aborted) throw abortError(signal);
    const number = typeof socket === "number" ? socket : numberOf(socket);
    const sent = native.sendmsg(number, bytes, offset, borrowed.fds, borrowed.count);
    if (sent === -EAGAIN) await ready(number, WRITABLE, signal);
    else {
      offset += check("sendmsg", sent);
      borrowed = NOTHING_BORROWED;
    }
  }
}

/**
 * Receives one message with its descriptors from a UNIX socket that stays the caller's; undefined when the peer has
 * closed. `size` is the most bytes to take. Throws DESCRIPTORS_TRUNCATED when this process may not open as many, and
 * MESSAGE_TOO_LARGE when a socket that keeps message boundaries had a longer one.
 */
export async function recvFds(
  socket: number,
  options: WaitOptions & { readonly size?: number } = {},
): Promise<FdMessage | undefined> {
  const { signal, size = 64 * 1024 } = options;
  const data = Buffer.allocUnsafe(Math.max(1, size));
  const received = new Int32Array(RECEIVED_LENGTH);
  for (;;) {
    if (signal?.aborted) throw abortError(signal);
    const length = native.recvmsg(socket, data, 0, received);
    if (length === -EAGAIN) {
      await ready(socket, READABLE, signal);
      continue;
    }
    if (length === -EMSGSIZE) throw descriptorsTruncated();
    check("recvmsg", length);
    const fds = adoptReceived(received);
    if (((received[1] ?? 0) & MSG_TRUNC) !== 0) {
      closeAll(fds);
      throw new BerthError("MESSAGE_TOO_LARGE", `a message exceeds ${data.length} bytes; receive with a larger size`);
    }
    return length === 0 && fds.length === 0 ? undefined : new FdMessage(data.subarray(0, length), fds);
  }
}

/** Resolves when the socket is connected and has given to the kernel what was written to it. */
async function flushed(socket: Socket, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) throw abortError(signal);
  if (socket.connecting) await once(socket, "connect", { signal });
  if (socket.writableLength === 0 || socket.writableEnded) return;
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      if (signal !== undefined) reject(abortError(signal));
    };
    signal?.addEventListener("abort", abort, { once: true });
    // Nothing, after everything else. If that fails, sendmsg says why.
    socket.write("", () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    });
  });
}

/** The descriptor of a net.Socket, which Node does not publish: its handle has had it since Node 0.10. */
function numberOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  if (typeof fd !== "number" || fd < 0)
    throw new BerthError("DESCRIPTOR_CLOSED", "the net.Socket is not open, so no descriptor can be sent on it");
  return fd;
}

function checkMessage(data: Uint8Array | string, fds: readonly FdHandle[]): Uint8Array {
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  if (bytes.length === 0)
    throw new BerthError(
      "PROTOCOL_ERROR",
      "a message needs at least one byte: a stream does not carry fds without any",
    );
  if (fds.length > MAX_FDS) {
    throw new BerthError(
      "TOO_MANY_DESCRIPTORS",
      `${fds.length} descriptors do not fit one message, which carries ${MAX_FDS}; send several`,
    );
  }
  return bytes;
}

/** Waits on a duplicate, since libuv watches a descriptor only once: a socket may wait both to send and to receive. */
function ready(fd: number, events: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const watched = FdHandle.adopt(check("fcntl F_DUPFD_CLOEXEC", native.dup(fd)));
    const finish = (error?: Error): void => {
      poll.close();
      watched.close();
      signal?.removeEventListener("abort", abort);
      if (error === undefined) resolve();
      else reject(error);
    };
    const abort = (): void => {
      if (signal !== undefined) finish(abortError(signal));
    };
    // Whatever is wrong with the socket, the call that waits learns better by trying.
    const poll = new native.Poll(watched.fd, () => finish(), true);
    const result = poll.start(events);
    if (result < 0) return finish(new SysError("poll", -result));
    signal?.addEventListener("abort", abort, { once: true });
  });
}
