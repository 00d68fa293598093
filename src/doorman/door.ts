/** The sockets of one sleeping server, until somebody wants to play. It reports that once. */
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import { Admission, type WakeLimit } from "./admission.ts";
import { AnsweredSocket } from "./answered.ts";
import { AskedSocket } from "./asked.ts";
import type { Codecs } from "./codecs.ts";
import type { WatchOrder } from "./messages.ts";
import type { QueryLimit } from "./query-limit.ts";

/** What a player is told who may not wake the server. */
const STRANGERS = "This server is asleep, and only players that it knows wake it";

export interface DoorContext {
  readonly sys: Native;
  readonly codecs: Codecs;
  readonly challenges: InstanceType<Codecs["Challenges"]>;
  readonly budget: InstanceType<Codecs["AnswerBudget"]>;
  readonly limit: WakeLimit;
  readonly queries: QueryLimit;
  /** Somebody wants to play, at the socket with this index. */
  readonly onWake: (index: number) => void;
}

export class Door implements Disposable {
  readonly #fds: readonly FdHandle[];
  readonly #sockets: (AskedSocket | AnsweredSocket)[];

  /** Takes ownership of the descriptors. */
  constructor(order: WatchOrder, fds: readonly FdHandle[], context: DoorContext) {
    this.#fds = fds;
    const { minecraft, networkOf } = context.codecs;
    const admission = new Admission({ ...order, limit: context.limit, networkOf });
    this.#sockets = fds.map((handle, index) => {
      const onWake = (): void => this.#wake(index, context.onWake);
      if (order.kinds[index] === "datagram") {
        // Players of Java and of Bedrock meet on one server, by TCP and by UDP.
        const codec = context.codecs.datagramProtocols[order.asleep === "minecraft" ? "bedrock" : order.asleep];
        return new AskedSocket(handle.fd, { ...context, codec, order, admission, onWake });
      }
      const isAnswered = order.asleep === "minecraft";
      return new AnsweredSocket(handle.fd, {
        ...context,
        converse: isAnswered
          ? (isKnown) => minecraft.converse(order.server, isKnown ? order.refusal : STRANGERS)
          : undefined,
        wakesAtOnce: order.wake === "any" && !isAnswered,
        admission,
        networkOf,
        onWake,
      });
    });
  }

  [Symbol.dispose](): void {
    this.#stop();
    for (const handle of this.#fds) handle.close();
  }

  #wake(index: number, tell: (index: number) => void): void {
    if (this.#sockets.length === 0) return;
    this.#stop();
    tell(index);
  }

  #stop(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
  }
}
