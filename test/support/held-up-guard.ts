/** A guard that carries calls on sockets out when the test says so, or never. All else it does as always. */
import { Guard, type GuardCall, type GuardResult, type Owner } from "../../src/broker/guard/guard.ts";
import type { NoReply } from "../../src/broker/guard/worker.ts";
import { type Native, native } from "../../src/native.ts";

/** What becomes of a round: it is carried out, or not. */
type Fate = "done" | NoReply;

export class HeldUpGuard extends Guard {
  readonly #waiting: ((fate: Fate) => void)[] = [];
  #frees: (() => void)[] = [];
  /** The owners of all rounds so far. */
  readonly owners: Owner[] = [];

  constructor(sys: Native = native) {
    super({ sys, log: () => undefined });
  }

  /** How many rounds wait for the test. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lets those that wait go on. */
  decide(fate: Fate): void {
    for (const decide of this.#waiting.splice(0)) decide(fate);
  }

  /** The processes that got stuck have ended. */
  free(): void {
    for (const free of this.#frees.splice(0)) free();
  }

  override ask(
    owner: Owner,
    fds: readonly number[],
    calls: readonly GuardCall[],
    hear: (results: readonly GuardResult[] | NoReply) => void,
    onFreed?: () => void,
  ): void {
    this.owners.push(owner);
    this.#waiting.push((fate) => {
      if (fate === "stuck" && onFreed !== undefined) this.#frees.push(onFreed);
      if (fate === "done") super.ask(owner, fds, calls, hear);
      else hear(fate);
    });
  }
}
