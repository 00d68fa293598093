/** Turns players away who join a server that drains: they read when it is stopped. Status queries are answered. */
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import { withTime } from "../time-left.ts";
import type { Codecs } from "./interfaces/codecs.ts";
import type { RefuseOrder } from "./interfaces/messages.ts";
import type { QueryLimit } from "./senders/query-limit.ts";
import { type AnsweredContext, AnsweredSocket } from "./sockets/answered.ts";
import { RefusedJoins } from "./sockets/refused-joins.ts";

/** Nobody who joins wakes a server: it runs. */
const NOBODY_WAKES = { knows: () => true, admits: () => false } as const;

export interface RefusalContext {
  readonly sys: Native;
  readonly codecs: Pick<Codecs, "datagramProtocols" | "minecraft" | "networkOf">;
  /** How many joins are answered. */
  readonly refusals: QueryLimit;
}

export class Refusal implements Disposable {
  readonly #fds: readonly FdHandle[];
  readonly #sockets: readonly { close(): void }[];

  /** Takes ownership of the descriptors. */
  constructor(order: RefuseOrder, fds: readonly FdHandle[], context: RefusalContext) {
    this.#fds = fds;
    const numbers = fds.map(({ fd }) => fd);
    const { refuse } = order;
    if (refuse === "minecraft") {
      this.#sockets = numbers.map((fd) => new AnsweredSocket(fd, answering(order, context)));
      return;
    }
    const [ring = -1, ...sockets] = numbers;
    const codec = context.codecs.datagramProtocols[refuse];
    this.#sockets = [new RefusedJoins(ring, sockets, { ...context, codec, text: () => textOf(order) })];
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.close();
    for (const handle of this.#fds) handle.close();
  }
}

function answering(order: RefuseOrder, { sys, codecs: { minecraft, networkOf } }: RefusalContext): AnsweredContext {
  return {
    sys,
    converse: () => minecraft.turnAway(order.server, textOf(order)),
    wakesAtOnce: false,
    admission: NOBODY_WAKES,
    networkOf,
    onWake: () => undefined,
  };
}

function textOf({ text, deadline }: RefuseOrder): string {
  const now = Number(process.hrtime.bigint() / 1000n) / 1000;
  return withTime(text, deadline === undefined ? undefined : deadline - now);
}
