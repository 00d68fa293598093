/**
 * Asks one server that runs how many play, on sockets that the broker has connected to it. What the server sends is a
 * stranger's: only so much of it is read, for so long. It reports once.
 */
import { constants } from "node:os";
import type { FdHandle } from "../fd.ts";
import { type Native, type Poll, READABLE, TAKE } from "../native.ts";
import { clearPendingError } from "../net/socket-queries.ts";
import type { Codecs, Inquiry } from "./interfaces/codecs.ts";
import type { AskOrder } from "./interfaces/messages.ts";

const { EAGAIN } = constants.errno;

/** How long a server has to answer, and when a datagram is sent again. */
const LONGEST_MS = 1500;
const AGAIN_MS = 400;
/** How long a server has to close a connection on which it has answered. */
const CLOSING_MS = 500;
/** How much is read of one socket, and how much before others have their turn. */
const MOST_READS = 256;
const IN_A_ROW = 16;
/** A datagram of Quake III has at most so many bytes. */
const READ_BYTES = 16_384;
/** sockaddr_in6, the longer one. */
const SOCKADDR_BYTES = 28;
const SHUT_WR = 1;
const NO_FDS = new Int32Array(0);

const buffer: Buffer = Buffer.alloc(READ_BYTES);
const sender: Buffer = Buffer.alloc(SOCKADDR_BYTES);

export interface InquirerContext {
  readonly sys: Native;
  readonly codecs: Codecs;
  /** 32 bits that others cannot guess. */
  readonly nonce: number;
  /** How many play; undefined if the server does not answer. */
  readonly onAnswer: (players: number | undefined) => void;
}

/** One socket that is connected to the server. */
class Line {
  readonly #sys: Native;
  readonly #handle: FdHandle;
  readonly #isStream: boolean;
  readonly #poll: Poll;
  readonly #onOver: () => void;
  readonly inquiry: Inquiry;
  #reads = 0;
  #isSent = false;

  /** Takes ownership of the descriptor. */
  constructor(sys: Native, handle: FdHandle, isStream: boolean, inquiry: Inquiry, onOver: () => void) {
    this.#sys = sys;
    this.#handle = handle;
    this.#isStream = isStream;
    this.#onOver = onOver;
    this.inquiry = inquiry;
    this.#poll = new sys.Poll(handle.fd, () => this.#read(), true);
    this.send();
    if (this.#poll.start(READABLE) < 0) this.close();
  }

  get isOver(): boolean {
    return this.inquiry.isOver || !this.#handle.open;
  }

  /** Datagrams may be lost; a stream may not be connected yet. */
  send(): void {
    if (this.isOver || (this.#isStream && this.#isSent)) return;
    for (const bytes of this.inquiry.asks)
      this.#isSent = this.#sys.sendmsg(this.#handle.fd, bytes, 0, NO_FDS, 0) >= 0 || this.#isSent;
  }

  /** Closes it, unless the server has to close its end first. */
  finish(): void {
    if (!this.#isStream || !this.inquiry.isOver) this.close();
  }

  /** Idempotent. */
  close(): void {
    if (!this.#handle.open) return;
    this.#poll.close();
    this.#handle.close();
  }

  #read(): void {
    for (let read = 0; read < IN_A_ROW && this.#handle.open; read++) {
      if (++this.#reads > MOST_READS) return this.#end();
      const { fd } = this.#handle;
      const length = this.#isStream ? this.#sys.recvbytes(fd, buffer, TAKE) : this.#sys.recvfrom(fd, buffer, sender, 0);
      if (length === -EAGAIN) return;
      if (this.#isStream && length <= 0) return this.#end();
      // A pending error, as of a question to a closed port.
      if (length < 0) return clearPendingError(fd, this.#sys);
      if (this.isOver || length > READ_BYTES) continue;
      if (this.inquiry.feed(buffer.subarray(0, length))) this.send();
      if (!this.inquiry.isOver) continue;
      // The server closes its end first: it has no error to log.
      if (this.#isStream) this.#sys.shutdown(fd, SHUT_WR);
      this.#onOver();
    }
  }

  #end(): void {
    this.close();
    this.#onOver();
  }
}

/** It ends by itself. Takes ownership of the descriptors. */
export function startInquiry(order: AskOrder, fds: readonly FdHandle[], context: InquirerContext): void {
  new Inquirer(order, fds, context).begin();
}

class Inquirer {
  readonly #context: InquirerContext;
  readonly #lines: readonly Line[];
  readonly #timers: NodeJS.Timeout[] = [];
  #isAnswered = false;

  constructor({ asleep, kinds, port }: AskOrder, fds: readonly FdHandle[], context: InquirerContext) {
    this.#context = context;
    const { sys, codecs, nonce } = context;
    const { minecraft, datagramProtocols } = codecs;
    // Players of Java and of Bedrock meet on one server, by TCP and by UDP.
    const { inquire } = datagramProtocols[asleep === "minecraft" ? "bedrock" : asleep];
    this.#lines = fds.map((handle, index) => {
      const isStream = kinds[index] === "stream";
      return new Line(sys, handle, isStream, isStream ? minecraft.inquire(port) : inquire(nonce), () => this.#look());
    });
  }

  begin(): void {
    const again = setInterval(() => {
      for (const line of this.#lines) line.send();
    }, AGAIN_MS);
    this.#timers.push(
      again,
      setTimeout(() => this.#answer(), LONGEST_MS),
    );
    this.#look();
  }

  #look(): void {
    if (this.#lines.every(({ isOver }) => isOver)) this.#answer();
  }

  /** Several sockets are those of one server, so the greatest number counts. */
  #answer(): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
    const known = this.#lines.flatMap(({ inquiry }) => inquiry.players ?? []);
    for (const line of this.#lines) line.finish();
    setTimeout(() => {
      for (const line of this.#lines) line.close();
    }, CLOSING_MS);
    this.#context.onAnswer(known.length === 0 ? undefined : Math.max(...known));
  }
}
