/**
 * The connection of the fleet's agent. It brings a line and then frames, and takes lines and frames back. A frame is
 * its length (32 bits, big-endian) and its bytes; length zero ends them. What the peer may send, and how long it may
 * keep this program waiting, is bounded.
 */
import { Socket } from "node:net";
import { abortError, BerthError } from "../../errors.ts";
import { native } from "../../native.ts";
import { POLLHUP } from "../../net/socket-constants.ts";

export interface Limits {
  /** Bytes in all frames of a request, in either direction. */
  readonly maxBytes: number;
  /** How long the peer may neither send nor read, in milliseconds. */
  readonly stallMs: number;
}

const MAX_LINE_BYTES = 4096;
const HEAD_BYTES = 4;
const NEWLINE = 10;
const LOOK_MS = 1_000;
const EMPTY: Buffer = Buffer.alloc(0);

export class PeerConnection implements Disposable {
  readonly #fd: number;
  readonly #socket: Socket;
  readonly #limits: Limits;
  readonly #signal: AbortSignal;
  #rest: Buffer = EMPTY;
  #isSending = false;
  #sent = 0;
  #received = 0;

  /** Owns the descriptor of a connected UNIX stream socket. */
  constructor(fd: number, limits: Limits, signal: AbortSignal) {
    this.#fd = fd;
    this.#socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    // The next read or write finds the socket destroyed, and throws.
    this.#socket.on("error", () => undefined);
    this.#limits = limits;
    this.#signal = signal;
  }

  /** Bytes of all frames so far. */
  get sent(): number {
    return this.#sent;
  }

  /** Bytes of all frames so far. */
  get received(): number {
    return this.#received;
  }

  /** Whether the peer has closed the connection, so that it cannot read an answer. */
  get isGone(): boolean {
    return this.#socket.destroyed || (native.pollNow(this.#fd, 0) & POLLHUP) !== 0;
  }

  /** Does something; the signal is aborted soon after the peer has closed the connection: CONNECTION_CLOSED. */
  async whileThere<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const closed = new AbortController();
    const timer = setInterval(() => {
      if (this.isGone) closed.abort(gone());
    }, LOOK_MS);
    try {
      return await action(AbortSignal.any([this.#signal, closed.signal]));
    } finally {
      clearInterval(timer);
    }
  }

  /** The next line. Throws PROTOCOL_ERROR if it is too long, CONNECTION_CLOSED, or ABORTED if the peer is too slow. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf(NEWLINE);
      const length = end < 0 ? this.#rest.length : end;
      if (length > MAX_LINE_BYTES)
        throw new BerthError("PROTOCOL_ERROR", `the request has more than ${MAX_LINE_BYTES} bytes`);
      if (end >= 0) {
        const line = this.#rest.toString("utf8", 0, end);
        this.#rest = this.#rest.subarray(end + 1);
        return line;
      }
      this.#rest = Buffer.concat([this.#rest, await this.#part()]);
    }
  }

  /** What the peer sends in frames, in parts of any length. Throws as {@link line}, and MESSAGE_TOO_LARGE. */
  async *frames(): AsyncGenerator<Buffer> {
    for (;;) {
      while (this.#rest.length < HEAD_BYTES) this.#rest = Buffer.concat([this.#rest, await this.#part()]);
      let left = this.#rest.readUInt32BE();
      this.#rest = this.#rest.subarray(HEAD_BYTES);
      if (left === 0) return;
      this.#received += left;
      this.#mustFit(this.#received);
      while (left > 0) {
        if (this.#rest.length === 0) this.#rest = await this.#part();
        const part = this.#rest.subarray(0, left);
        this.#rest = this.#rest.subarray(part.length);
        left -= part.length;
        yield part;
      }
    }
  }

  /** Sends bytes as a frame; before the first one, the line that says that frames follow. Throws as {@link frames}. */
  async send(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    this.#sent += bytes.length;
    this.#mustFit(this.#sent);
    if (!this.#isSending) await this.#write(`{"ok":true}\n`);
    this.#isSending = true;
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32BE(bytes.length);
    this.#socket.cork();
    this.#socket.write(head);
    const written = this.#write(bytes);
    this.#socket.uncork();
    await written;
  }

  /** Sends the line that says how the request has ended. If frames were sent, it ends them first. */
  async answer(result: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.#isSending) await this.#write(Buffer.alloc(HEAD_BYTES));
    this.#isSending = false;
    await this.#write(`${JSON.stringify(result)}\n`);
  }

  /**
   * Closes the connection. First it takes what the peer still sends, so that a peer that sends all before it reads can
   * read the answer. Never throws.
   */
  async finish(): Promise<void> {
    this.#socket.end();
    let discarded = 0;
    try {
      while (discarded <= this.#limits.maxBytes) discarded += (await this.#part()).length;
    } catch {
      // It has closed its end, or takes too long.
    }
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #mustFit(bytes: number): void {
    if (bytes <= this.#limits.maxBytes) return;
    throw new BerthError(
      "MESSAGE_TOO_LARGE",
      `there are more than ${this.#limits.maxBytes} bytes; --max-bytes of berth serve-state is the limit`,
    );
  }

  async #part(): Promise<Buffer> {
    for (;;) {
      const bytes: unknown = this.#socket.read();
      if (Buffer.isBuffer(bytes)) return bytes;
      if (this.#socket.readableEnded || this.#socket.destroyed) throw gone();
      await this.#until("readable", "end", "close");
    }
  }

  async #write(bytes: Buffer | string): Promise<void> {
    if (this.#socket.destroyed) throw gone();
    if (this.#socket.write(bytes)) return;
    await this.#until("drain", "close");
    if (this.#socket.destroyed) throw gone();
  }

  /** Waits for one of the events. */
  #until(...events: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        for (const event of events) this.#socket.off(event, onEvent);
        this.#signal.removeEventListener("abort", onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onEvent = (): void => settle();
      const onAbort = (): void => settle(abortError(this.#signal));
      const { stallMs } = this.#limits;
      const timer = setTimeout(() => {
        settle(new BerthError("ABORTED", `the agent has neither sent nor read anything for ${stallMs / 1000} s`));
      }, stallMs);
      for (const event of events) this.#socket.on(event, onEvent);
      this.#signal.addEventListener("abort", onAbort);
      if (this.#signal.aborted) onAbort();
    });
  }
}

function gone(): BerthError {
  return new BerthError("CONNECTION_CLOSED", "the agent has closed the connection before the end of its request");
}
