/** Turns players away who join a server that drains: they read when it is stopped. Status queries are answered. */
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import { withTime } from "../time-left.ts";
import { AnsweredSocket } from "./answered.ts";
import type { Codecs } from "./codecs.ts";
import type { RefuseOrder } from "./messages.ts";

/** Nobody who joins wakes a server: it runs. */
const NOBODY_WAKES = { knows: () => true, admits: () => false } as const;

export interface RefusalContext {
  readonly sys: Native;
  readonly codecs: Pick<Codecs, "minecraft" | "networkOf">;
}

export class Refusal implements Disposable {
  readonly #fds: readonly FdHandle[];
  readonly #sockets: readonly AnsweredSocket[];

  /** Takes ownership of the descriptors. */
  constructor(order: RefuseOrder, fds: readonly FdHandle[], { sys, codecs }: RefusalContext) {
    this.#fds = fds;
    this.#sockets = fds.map(
      ({ fd }) =>
        new AnsweredSocket(fd, {
          sys,
          converse: () => codecs[order.refuse].turnAway(order.server, textOf(order)),
          wakesAtOnce: false,
          admission: NOBODY_WAKES,
          networkOf: codecs.networkOf,
          onWake: () => undefined,
        }),
    );
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.close();
    for (const handle of this.#fds) handle.close();
  }
}

function textOf({ text, deadline }: RefuseOrder): string {
  const now = Number(process.hrtime.bigint() / 1000n) / 1000;
  return withTime(text, deadline === undefined ? undefined : deadline - now);
}
