/**
 * Asks the servers of berths who plays, each in its protocol. A server that does not answer is asked less often. When
 * the process that asks had to be ended, each server that it was asking is asked alone from then on.
 */
import type { BerthRecord } from "berthd";
import { type PlayersAnswer, type Question, questionOf } from "./question.ts";

/** Asks one server. Rejects if it does not answer; with {@link AskingEnded} where it may be to blame for more. */
export type Ask = (question: Question, isAlone: boolean) => Promise<PlayersAnswer>;

/** The process that asks had to be ended. One of the servers that were asked then is to blame. */
export class AskingEnded extends Error {}

export interface AskerOptions {
  readonly ask: Ask;
  answered(berth: string, answer: PlayersAnswer): void;
  /** Once for each berth, until it has answered. */
  failed(berth: string, why: string): void;
}

/** Milliseconds between two questions to a server that answers; twice as long after each failure, up to the last. */
export const PAUSE_MS = 15_000;
export const LAST_PAUSE_MS: number = 5 * 60_000;
/** How many are asked at once. */
const MOST = 16;
/** After the process ended n times, the server is asked alone until it has answered 2 to the power of n times. */
const MOST_ENDS = 6;

interface Asked {
  next: number;
  pause: number;
  isUnderWay: boolean;
  isTold: boolean;
  /** How often the process that asks ended while this server was asked. */
  ends: number;
  /** How many answers it owes before it is asked beside others. */
  owed: number;
}

export class Asker {
  readonly #options: AskerOptions;
  readonly #asked = new Map<string, Asked>();
  #underWay = 0;
  #isAloneUnderWay = false;

  constructor(options: AskerOptions) {
    this.#options = options;
  }

  /** Asks each server whose pause is over, as many at once as there may be. `now` in milliseconds. */
  tick(berths: readonly BerthRecord[], now: number): void {
    const names = new Set<string>();
    for (const berth of berths) {
      const question = questionOf(berth);
      if (question === undefined) continue;
      const key = `${berth.name} ${berth.lease?.id}`;
      names.add(key);
      const asked = this.#asked.get(key) ?? fresh(now);
      this.#asked.set(key, asked);
      if (asked.next > now || asked.isUnderWay || this.#underWay >= MOST) continue;
      if (asked.owed > 0 && this.#isAloneUnderWay) continue;
      void this.#ask(berth.name, question, asked);
    }
    for (const key of this.#asked.keys()) if (!names.has(key)) this.#asked.delete(key);
  }

  async #ask(name: string, question: Question, asked: Asked): Promise<void> {
    const isAlone = asked.owed > 0;
    asked.isUnderWay = true;
    this.#underWay++;
    if (isAlone) this.#isAloneUnderWay = true;
    try {
      const answer = await this.#options.ask(question, isAlone);
      asked.owed = Math.max(0, asked.owed - 1);
      asked.pause = PAUSE_MS;
      asked.isTold = false;
      this.#options.answered(name, answer);
    } catch (error) {
      if (error instanceof AskingEnded) {
        asked.ends = Math.min(MOST_ENDS, asked.ends + 1);
        asked.owed = 2 ** asked.ends;
      }
      if (!asked.isTold) this.#options.failed(name, error instanceof Error ? error.message : String(error));
      asked.isTold = true;
      asked.pause = Math.min(LAST_PAUSE_MS, asked.pause * 2);
    } finally {
      asked.isUnderWay = false;
      this.#underWay--;
      if (isAlone) this.#isAloneUnderWay = false;
      asked.next = Date.now() + asked.pause;
    }
  }
}

function fresh(now: number): Asked {
  return { next: now, pause: PAUSE_MS, isUnderWay: false, isTold: false, ends: 0, owed: 0 };
}
