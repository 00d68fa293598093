/** What the doorman has: the sockets of servers that sleep, and those at which players are turned away. */
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import { Door } from "./door.ts";
import type { Codecs } from "./interfaces/codecs.ts";
import type { RefuseOrder, Report, WatchOrder } from "./interfaces/messages.ts";
import { Refusal } from "./refusal.ts";
import { WakeLimit } from "./senders/admission.ts";
import { QueryLimit } from "./senders/query-limit.ts";

export interface DoorsContext {
  readonly sys: Native;
  readonly codecs: Codecs;
  readonly challenges: InstanceType<Codecs["Challenges"]>;
  readonly say: (report: Report) => void;
}

export class Doors {
  readonly #context: DoorsContext;
  readonly #byWatch = new Map<number, Disposable>();
  readonly #budget: InstanceType<Codecs["AnswerBudget"]>;
  readonly #wakes = new WakeLimit();
  readonly #queries = new QueryLimit();
  /** Of their own: a flood of joins at a server that drains leaves the answers of those that sleep alone. */
  readonly #refusals = new QueryLimit();

  constructor(context: DoorsContext) {
    this.#context = context;
    this.#budget = new context.codecs.AnswerBudget();
  }

  /** Takes ownership of the descriptors. */
  open(order: WatchOrder | RefuseOrder, fds: readonly FdHandle[]): void {
    const { watch } = order;
    const { sys, codecs, challenges, say } = this.#context;
    if ("refuse" in order) {
      this.#byWatch.set(watch, new Refusal(order, fds, { sys, codecs, refusals: this.#refusals }));
      return;
    }
    const door = new Door(order, fds, {
      ...{ sys, codecs, challenges, budget: this.#budget, limit: this.#wakes, queries: this.#queries },
      onWake: (index) => say({ report: "wake", watch, index }),
      onServed: () => say({ report: "served", watch }),
    });
    this.#byWatch.set(watch, door);
  }

  drop(watch: number): void {
    this.#byWatch.get(watch)?.[Symbol.dispose]();
    this.#byWatch.delete(watch);
  }
}
