/**
 * The client side of Varlink: calls and their replies, in order, over one connection. Calls may be pipelined. If a call
 * is aborted, its reply is still read, and its descriptors are closed.
 */
import { abortError, BerthError, RefusedError } from "../errors.ts";
import { borrow, closeAll, type FdHandle, NO_FDS } from "../fd.ts";
import { Wire } from "../wire.ts";
import { connectUnix, type UnixConnectOptions } from "./connect.ts";
import { decodeBytes, encodeCall, type Parameters, readReply } from "./message.ts";

/** A reply: its parameters and its descriptors. The caller closes or disposes of the descriptors. */
export class Reply implements Disposable {
  readonly parameters: Parameters;
  readonly fds: readonly FdHandle[];

  constructor(parameters: Parameters, fds: readonly FdHandle[]) {
    this.parameters = parameters;
    this.fds = fds;
  }

  [Symbol.dispose](): void {
    closeAll(this.fds);
  }
}

export interface CallOptions {
  /** Descriptors to send with the call, borrowed. */
  readonly fds?: readonly FdHandle[];
  readonly signal?: AbortSignal | undefined;
}

/** One call that waits for its replies. */
interface Pending {
  readonly more: boolean;
  reply(reply: Reply, continues: boolean): void;
  fail(error: Error): void;
  /** The call was aborted: its replies are dropped and their descriptors closed. */
  abandoned: boolean;
}

/** The largest reply: enough for a List of thousands of berths. */
const MAX_REPLY = 16 * 1024 * 1024;
const MAX_PENDING = 1024;
/** How many replies of a stream may wait for their reader before the connection stops reading. */
const STREAM_AHEAD = 64;

/** A connection to a Varlink service. Disposing of it closes the socket. */
export class VarlinkClient implements Disposable {
  readonly #wire: Wire;
  readonly #pending: Pending[] = [];
  #closed: BerthError | undefined;
  #isIdle = false;

  /** Owns a connected UNIX stream socket. */
  constructor(socket: FdHandle) {
    this.#wire = new Wire(
      socket,
      {
        onMessage: (bytes, length, fds) => this.#onMessage(bytes, length, fds),
        onClosed: (cause) => this.#onClosed(cause),
      },
      { framing: "nul", maxMessage: MAX_REPLY },
    );
    this.#wire.unref();
  }

  /** Connects to the service at a path; `@name` is abstract. Throws BROKER_UNREACHABLE. */
  static async connect(path: string, options: UnixConnectOptions = {}): Promise<VarlinkClient> {
    return new VarlinkClient(await connectUnix(path, options));
  }

  /** From now on, calls that wait for replies do not keep the process alive. */
  unref(): void {
    this.#isIdle = true;
    this.#wire.unref();
  }

  get closed(): boolean {
    return this.#wire.closed;
  }

  /** Calls a method and waits for its one reply. Throws {@link RefusedError} for an error reply. */
  call(method: string, parameters: Parameters = {}, options: CallOptions = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      if (signal?.aborted) return reject(abortError(signal));
      const abort = (): void => {
        pending.abandoned = true;
        if (signal !== undefined) reject(abortError(signal));
      };
      const pending: Pending = {
        more: false,
        abandoned: false,
        reply: (reply) => {
          signal?.removeEventListener("abort", abort);
          resolve(reply);
        },
        fail: (error) => {
          signal?.removeEventListener("abort", abort);
          reject(error);
        },
      };
      try {
        this.#send(encodeCall(method, parameters), options.fds ?? NO_FDS);
      } catch (error) {
        return reject(error);
      }
      signal?.addEventListener("abort", abort);
      this.#push(pending);
    });
  }

  /** Calls a method and asks for no reply. Returns when the message is sent or queued. */
  oneway(method: string, parameters: Parameters = {}, fds: readonly FdHandle[] = NO_FDS): void {
    if (!this.#send(encodeCall(method, parameters, { oneway: true }), fds)) throw closedError(undefined);
  }

  /**
   * Calls a method with `more` and yields its replies. Leaving the loop closes the connection: that is how a Varlink
   * client ends a stream. So give a stream its own connection.
   */
  async *stream(
    method: string,
    parameters: Parameters = {},
    options: CallOptions = {},
  ): AsyncGenerator<Reply, void, void> {
    const { signal } = options;
    if (signal?.aborted) throw abortError(signal);
    const ready: Reply[] = [];
    let ended = false;
    let failure: Error | undefined;
    let wake: () => void = () => undefined;
    const abort = (): void => {
      if (signal !== undefined) failure ??= abortError(signal);
      wake();
    };
    const pending: Pending = {
      more: true,
      abandoned: false,
      reply: (reply, continues) => {
        ready.push(reply);
        ended = !continues;
        if (ready.length >= STREAM_AHEAD) this.#wire.setReading(false);
        wake();
      },
      fail: (error) => {
        failure ??= error;
        ended = true;
        wake();
      },
    };
    this.#send(encodeCall(method, parameters, { more: true }), options.fds ?? NO_FDS);
    this.#push(pending);
    signal?.addEventListener("abort", abort);
    try {
      for (;;) {
        const reply = ready.shift();
        if (reply !== undefined) {
          if (ready.length === 0 && !this.closed) this.#wire.setReading(true);
          yield reply;
        } else if (failure !== undefined) throw failure;
        else if (ended) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      for (const reply of ready) closeAll(reply.fds);
      if (!ended) this.close();
    }
  }

  /** Closes the connection. Calls that wait fail with CONNECTION_CLOSED. Idempotent. */
  close(): void {
    if (this.#wire.closed) return;
    this.#wire.close();
    this.#onClosed(undefined);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** False when the connection is over. Its last reply or its end then goes to the calls that wait. */
  #send(bytes: Buffer, fds: readonly FdHandle[]): boolean {
    if (this.#closed !== undefined) throw this.#closed;
    if (this.#pending.length >= MAX_PENDING) {
      throw new BerthError("PROTOCOL_ERROR", `${MAX_PENDING} calls already wait for their reply`);
    }
    const sent = this.#wire.send(bytes, borrow(fds));
    if (!sent && this.#wire.queued) throw new BerthError("CONNECTION_CLOSED", "the service does not read its calls");
    return sent;
  }

  #push(pending: Pending): void {
    if (this.#pending.push(pending) === 1 && !this.#isIdle) this.#wire.ref();
  }

  #onMessage(bytes: Buffer, length: number, fds: readonly FdHandle[]): void {
    const object = decodeBytes(bytes, length);
    const message = typeof object === "string" ? object : readReply(object);
    const pending = this.#pending[0];
    if (typeof message === "string") return this.#refuse(message, fds);
    if (pending === undefined) return this.#refuse("it sent a reply to no call", fds);
    if (message.continues && !pending.more)
      return this.#refuse("it sent a continuing reply to a call for one reply", fds);
    if (!message.continues || message.error !== undefined) {
      this.#pending.shift();
      if (this.#pending.length === 0) this.#wire.unref();
    }
    if (pending.abandoned) return closeAll(fds);
    if (message.error !== undefined) {
      closeAll(fds);
      return pending.fail(new RefusedError(message.error, message.parameters));
    }
    pending.reply(new Reply(message.parameters, fds), message.continues);
  }

  #refuse(why: string, fds: readonly FdHandle[]): void {
    closeAll(fds);
    this.#wire.close();
    this.#onClosed(new BerthError("PROTOCOL_ERROR", `the service does not speak Varlink: ${why}`));
  }

  #onClosed(cause: BerthError | undefined): void {
    this.#closed = closedError(cause);
    for (const pending of this.#pending.splice(0)) pending.fail(this.#closed);
  }
}

function closedError(cause: BerthError | undefined): BerthError {
  if (cause?.code === "PROTOCOL_ERROR" || cause?.code === "DESCRIPTORS_TRUNCATED") return cause;
  return new BerthError("CONNECTION_CLOSED", "the connection to the broker is closed", { cause });
}
