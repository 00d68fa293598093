/**
 * The sockets of one sleeping server, until somebody wants to play. It reports that once. Those at which logins are
 * held are then watched until the server accepts.
 */
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import type { Codecs, Conversation } from "./interfaces/codecs.ts";
import type { WatchOrder } from "./interfaces/messages.ts";
import { Admission, type WakeLimit } from "./senders/admission.ts";
import type { QueryLimit } from "./senders/query-limit.ts";
import { AnsweredSocket } from "./sockets/answered.ts";
import { AskedSocket } from "./sockets/asked.ts";
import { HeldSocket } from "./sockets/held.ts";

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
  /** After that, where logins are to be held: the server accepts connections, or no login can be held. */
  readonly onServed: () => void;
}

type Watched = AskedSocket | AnsweredSocket | HeldSocket;

export class Door implements Disposable {
  readonly #fds: readonly FdHandle[];
  readonly #context: DoorContext;
  /** The broker keeps the sockets here after the wake, until it is told that the server accepts. */
  readonly #isKept: boolean;
  #sockets: readonly Watched[];
  #isAwake = false;

  /** Takes ownership of the descriptors. */
  constructor(order: WatchOrder, fds: readonly FdHandle[], context: DoorContext) {
    this.#fds = fds;
    this.#context = context;
    this.#isKept = order.hold !== undefined;
    const { minecraft, networkOf } = context.codecs;
    const admission = new Admission({ ...order, limit: context.limit, networkOf });
    const streams = order.kinds.flatMap((kind, index) => (kind === "stream" ? [index] : []));
    this.#sockets = fds.slice(0, order.kinds.length).map((handle, index) => {
      const onWake = (): void => this.#wake(index);
      if (order.kinds[index] === "datagram") {
        // Players of Java and of Bedrock meet on one server, by TCP and by UDP.
        const codec = context.codecs.datagramProtocols[order.asleep === "minecraft" ? "bedrock" : order.asleep];
        return new AskedSocket(handle.fd, { ...context, codec, order, admission, onWake });
      }
      const isAnswered = order.asleep === "minecraft";
      const converse = (isKnown: boolean): Conversation =>
        minecraft.converse(order.server, isKnown ? order.refusal : STRANGERS);
      const common = { ...context, admission, networkOf, onWake };
      const at = order.kinds.length + 2 * streams.indexOf(index);
      const [ring, program] = [fds[at], fds[at + 1]];
      if (order.hold !== undefined && ring !== undefined && program !== undefined) {
        const held = { ...common, converse, hold: order.hold, onServed: () => this.#served() };
        const socket = HeldSocket.attach(handle.fd, [ring.fd, program.fd], held);
        if (socket !== undefined) return socket;
      }
      return new AnsweredSocket(handle.fd, {
        ...common,
        converse: isAnswered ? converse : undefined,
        wakesAtOnce: order.wake === "any" && !isAnswered,
      });
    });
  }

  [Symbol.dispose](): void {
    this.#stop();
    for (const handle of this.#fds) handle.close();
  }

  #wake(index: number): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#sockets = this.#sockets.flatMap((socket) => {
      if (socket instanceof HeldSocket) socket.wake();
      else socket.close();
      return socket instanceof HeldSocket ? [socket] : [];
    });
    this.#context.onWake(index);
    // No socket here could hold a login.
    if (this.#isKept && this.#sockets.length === 0) this.#served();
  }

  #served(): void {
    this.#stop();
    this.#context.onServed();
  }

  #stop(): void {
    const sockets = this.#sockets;
    this.#sockets = [];
    for (const socket of sockets) socket.close();
  }
}
