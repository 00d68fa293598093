/** The questions that one doorman has, or gets next: how many play on a server that runs. Each has an end. */
import type { AskOrder } from "../../../doorman/interfaces/messages.ts";
import type { FdHandle } from "../../../fd.ts";
import type { DoormanProcess } from "./doorman-process.ts";

/** How many servers a doorman asks at once: each takes some of its descriptors and the broker's. */
const MOST_AT_ONCE = 32;
/** How long a question may wait for its doorman, and then for its answer. A doorman gives up much earlier. */
const SENT_MS = 10_000;
const ANSWERED_MS = 4000;

export interface Question {
  /** Connects to the server. The descriptors are closed once the doorman has them. */
  readonly open: () => { readonly order: Omit<AskOrder, "ask">; readonly fds: readonly FdHandle[] };
  /** From now on the server may get questions. */
  readonly onSent: () => void;
  /** How many play; undefined if nobody knows. Called once, and not inside of the call that asks. */
  readonly onAnswer: (players: number | undefined) => void;
}

interface Pending {
  readonly question: Question;
  timer: NodeJS.Timeout;
  isSent: boolean;
}

export class Asks {
  readonly #pending = new Map<number, Pending>();
  #last = 0;

  get isEmpty(): boolean {
    return this.#pending.size === 0;
  }

  add(question: Question): void {
    this.#last = (this.#last + 1) & 0x7fffffff;
    const ask = this.#last;
    this.#pending.set(ask, { question, timer: this.#end(ask, SENT_MS), isSent: false });
  }

  /** Sends what is to be sent. What the process cannot take now gets no answer: each question connects only once. */
  flush(process: DoormanProcess): void {
    let sent = [...this.#pending.values()].filter(({ isSent }) => isSent).length;
    for (const [ask, pending] of this.#pending) {
      if (pending.isSent) continue;
      if (sent++ >= MOST_AT_ONCE) return;
      const { order, fds } = pending.question.open();
      const numbers = fds.map(({ fd }) => fd);
      const isTaken = fds.length > 0 && process.send({ ...order, ask }, numbers) >= 0;
      for (const handle of fds) handle.close();
      pending.isSent = true;
      clearTimeout(pending.timer);
      pending.timer = this.#end(ask, isTaken ? ANSWERED_MS : 0);
      if (isTaken) pending.question.onSent();
    }
  }

  /** The doorman says how many play. Too late is as never. */
  answered(ask: number, players: number | undefined): void {
    const pending = this.#pending.get(ask);
    if (pending?.isSent !== true) return;
    this.#pending.delete(ask);
    clearTimeout(pending.timer);
    pending.question.onAnswer(players);
  }

  /** The doorman has ended. */
  giveUp(): void {
    for (const [ask, pending] of this.#pending) {
      clearTimeout(pending.timer);
      pending.timer = this.#end(ask, 0);
    }
  }

  /** Nobody is answered any more. */
  close(): void {
    for (const { timer } of this.#pending.values()) clearTimeout(timer);
    this.#pending.clear();
  }

  #end(ask: number, milliseconds: number): NodeJS.Timeout {
    const end = (): void => {
      const pending = this.#pending.get(ask);
      this.#pending.delete(ask);
      pending?.question.onAnswer(undefined);
    };
    return setTimeout(end, milliseconds).unref();
  }
}
