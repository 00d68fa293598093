/**
 * One listening socket of a sleeping server, or of one that lets nobody in. Connections are accepted and answered; one
 * that was accepted cannot be put back, so a player is told to join again.
 */
import { check } from "../../errors.ts";
import { type Poll, READABLE } from "../../native.ts";
import { Conversations, type ConversationsContext, isShutDown } from "./conversations.ts";

const IN_A_ROW = 16;

export interface AnsweredContext extends ConversationsContext {
  /** Any connection wakes the server, and waits for it. */
  readonly wakesAtOnce: boolean;
}

export class AnsweredSocket {
  readonly #context: AnsweredContext;
  readonly #fd: number;
  readonly #poll: Poll;
  readonly #conversations: Conversations;

  /** `fd` is borrowed. */
  constructor(fd: number, context: AnsweredContext) {
    this.#context = context;
    this.#fd = fd;
    this.#conversations = new Conversations(context);
    this.#poll = new context.sys.Poll(fd, () => this.#accept(), true);
    check("poll", this.#poll.start(READABLE));
  }

  close(): void {
    this.#poll.close();
    this.#conversations.close();
  }

  #accept(): void {
    if (this.#context.wakesAtOnce) return this.#context.onWake();
    for (let accepted = 0; accepted < IN_A_ROW; accepted++)
      if (!this.#conversations.accept(this.#fd)) return this.#rest();
  }

  /** The broker gives a listener that was shut down anew, once it is set right. */
  #rest(): void {
    if (isShutDown(this.#fd, this.#context.sys)) this.#poll.close();
  }
}
