/** The processes that ask servers: one for all, and one for a server that may have stopped such a process before. */
import { AskingEnded } from "./asker.ts";
import { AskingProcess } from "./asking-process.ts";
import type { PlayersAnswer, Question } from "./question.ts";

export class AskingProcesses {
  #common: AskingProcess | undefined;
  #alone: AskingProcess | undefined;

  /** At most one at a time with `isAlone`. Rejects with the sentence for people, and with {@link AskingEnded}. */
  async ask(question: Question, isAlone: boolean): Promise<PlayersAnswer> {
    try {
      return await this.#process(isAlone).ask(question);
    } catch (error) {
      const { type, host, port } = question;
      const why = error instanceof Error ? error.message : String(error);
      const place = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
      const message = `no answer to ${type} from ${place}: ${why}; see server.query in its file`;
      throw error instanceof AskingEnded ? new AskingEnded(message) : new Error(message);
    }
  }

  /** Of those that run now. */
  get pids(): number[] {
    return [this.#common, this.#alone].flatMap((one) => (one?.pid === undefined || one.hasEnded ? [] : [one.pid]));
  }

  /** Ends them. A question after that starts another one. */
  close(): void {
    this.#common?.close();
    this.#alone?.close();
  }

  #process(isAlone: boolean): AskingProcess {
    const present = isAlone ? this.#alone : this.#common;
    if (present !== undefined && !present.hasEnded) return present;
    const started = new AskingProcess();
    if (isAlone) this.#alone = started;
    else this.#common = started;
    return started;
  }
}
