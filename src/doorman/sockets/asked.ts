/** One datagram socket of a sleeping server: queries are read and answered, a join is left in the queue. */
import { constants } from "node:os";
import { check } from "../../errors.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { clearPendingError, hangsUp } from "../../net/socket-queries.ts";
import type { Codecs, DatagramCodec } from "../interfaces/codecs.ts";
import type { WatchOrder } from "../interfaces/messages.ts";
import type { Admission } from "../senders/admission.ts";
import type { QueryLimit } from "../senders/query-limit.ts";
import { senderOf } from "../senders/sender.ts";

const { EAGAIN } = constants.errno;

/** A datagram; what is longer is no packet of these protocols. */
const LONGEST = 2048;
/** How many are read before other sockets have their turn. */
const IN_A_ROW = 64;
/** sockaddr_in6, the longer one. */
const SOCKADDR_BYTES = 28;

/** The datagram that is looked at now, and who sent it. All sockets share them, for there may be thousands. */
const packetBuffer: Buffer = Buffer.alloc(LONGEST);
const sender: Buffer = Buffer.alloc(SOCKADDR_BYTES);

export interface AskedContext {
  readonly sys: Native;
  readonly codecs: Codecs;
  readonly codec: DatagramCodec;
  readonly challenges: InstanceType<Codecs["Challenges"]>;
  readonly budget: InstanceType<Codecs["AnswerBudget"]>;
  readonly queries: QueryLimit;
  readonly order: WatchOrder;
  readonly admission: Admission;
  /** Somebody wants to play. */
  readonly onWake: () => void;
}

export class AskedSocket {
  readonly #context: AskedContext;
  readonly #fd: number;
  readonly #poll: Poll;

  /** `fd` is borrowed. */
  constructor(fd: number, context: AskedContext) {
    this.#context = context;
    this.#fd = fd;
    this.#poll = new context.sys.Poll(fd, () => this.#look(), true);
    // From the first such call on, the kernel notes when datagrams arrive (socket(7), SIOCGSTAMP).
    context.sys.lastReceived(fd, new Int32Array(4));
    check("poll", this.#poll.start(READABLE));
  }

  close(): void {
    this.#poll.close();
  }

  #look(): void {
    const { sys, queries } = this.#context;
    const now = performance.now();
    for (let read = 0; read < IN_A_ROW; read++) {
      const length = this.#receive(1);
      // A socket that was shut down is ready for ever. The broker sees that when it is to wake the server.
      if (length === -EAGAIN) return read === 0 && hangsUp(this.#fd, sys) ? this.#context.onWake() : undefined;
      // A pending error, as of an answer to a closed port, hides what is to be read.
      if (length < 0) return clearPendingError(this.#fd, sys);
      const packet = packetBuffer.subarray(0, Math.min(length, LONGEST));
      const kind = length > LONGEST ? "other" : this.#context.codec.classify(packet);
      const isWanted = kind === "join" || (kind === "other" && this.#context.order.wake === "any");
      if (isWanted && !this.#isOld() && this.#context.admission.admits(senderOf(sender))) return this.#context.onWake();
      this.#receive(0);
      if (kind === "status" && queries.allows(this.#fd, sender, now)) this.#answer(packet, now);
    }
  }

  #receive(peek: number): number {
    sender.fill(0);
    return this.#context.sys.recvfrom(this.#fd, packetBuffer, sender, peek);
  }

  /** Whether the datagram that was looked at last has waited too long: who sent it has given up. */
  #isOld(): boolean {
    const stamp = new Int32Array(4);
    if (this.#context.sys.lastReceived(this.#fd, stamp) < 0) return false;
    const view = new DataView(stamp.buffer);
    const milliseconds = Number(view.getBigInt64(0, true)) * 1000 + Number(view.getBigInt64(8, true)) / 1e6;
    return Date.now() - milliseconds > this.#context.order.discardAfter;
  }

  #answer(packet: Uint8Array, now: number): void {
    const { sys, codecs, codec, challenges, budget, order } = this.#context;
    const from = senderOf(sender);
    if (from === undefined) return;
    const answer = codec.answer(packet, order.server, challenges.for(`${from.host} ${from.port}`, now));
    if (answer === undefined || !budget.allows(codecs.networkOf(from.host), packet.length, answer, now)) return;
    sys.sendto(this.#fd, answer.bytes, sender.subarray(0, from.length));
  }
}
