/**
 * Asks the servers of berths who plays, each in its protocol, by gamedig. That reads what strangers send: so it is in
 * this process, which has no privilege, and it is loaded only when a berth has a query. A server that does not answer
 * is asked less often.
 */
import type { BerthRecord } from "berthd";
import { answerOf, type PlayersAnswer, type Question, questionOf, typeFor } from "./question.ts";

/** Asks one server. Rejects if it does not answer. */
export type Ask = (question: Question) => Promise<PlayersAnswer | undefined>;

export interface AskerOptions {
  readonly ask: Ask;
  /** `game` is its name in words, where the type is a game's. */
  answered(berth: string, answer: PlayersAnswer): void;
  /** Once for each berth, until it has answered. */
  failed(berth: string, why: string): void;
}

/** Milliseconds between two questions to a server that answers; twice as long after each failure, up to the last. */
export const PAUSE_MS = 15_000;
export const LAST_PAUSE_MS: number = 5 * 60_000;
/** How many are asked at once. */
const MOST = 16;

interface Asked {
  next: number;
  pause: number;
  isUnderWay: boolean;
  isTold: boolean;
}

export class Asker {
  readonly #options: AskerOptions;
  readonly #asked = new Map<string, Asked>();
  #underWay = 0;

  constructor(options: AskerOptions) {
    this.#options = options;
  }

  /** Asks whoever is due. `now` in milliseconds. */
  tick(berths: readonly BerthRecord[], now: number): void {
    const names = new Set<string>();
    for (const berth of berths) {
      const question = questionOf(berth);
      if (question === undefined) continue;
      const key = `${berth.name} ${berth.lease?.id}`;
      names.add(key);
      const asked = this.#asked.get(key) ?? { next: now, pause: PAUSE_MS, isUnderWay: false, isTold: false };
      this.#asked.set(key, asked);
      if (asked.next > now || asked.isUnderWay || this.#underWay >= MOST) continue;
      void this.#ask(berth.name, question, asked);
    }
    for (const key of this.#asked.keys()) if (!names.has(key)) this.#asked.delete(key);
  }

  async #ask(name: string, question: Question, asked: Asked): Promise<void> {
    asked.isUnderWay = true;
    this.#underWay++;
    try {
      const answer = await this.#options.ask(question);
      if (answer === undefined) throw new Error("its answer has no number of players");
      asked.pause = PAUSE_MS;
      asked.isTold = false;
      this.#options.answered(name, answer);
    } catch (error) {
      if (!asked.isTold) this.#options.failed(name, error instanceof Error ? error.message : String(error));
      asked.isTold = true;
      asked.pause = Math.min(LAST_PAUSE_MS, asked.pause * 2);
    } finally {
      asked.isUnderWay = false;
      this.#underWay--;
      asked.next = Date.now() + asked.pause;
    }
  }
}

/** By gamedig. It asks one port once, and waits two seconds. */
export async function askByGamedig({ type, host, port }: Question): Promise<PlayersAnswer | undefined> {
  const { GameDig, games, protocols } = await import("gamedig");
  const known = typeFor(type, games, Object.keys(protocols));
  if (known === undefined) throw new Error(`there is no game and no protocol called ${type}; see docs/web.md`);
  const options = { givenPortOnly: true, maxRetries: 1, socketTimeout: 2_000, attemptTimeout: 4_000 };
  return answerOf(await GameDig.query({ type: known, host, port, requestPlayers: false, ...options }));
}

/** The name of the game, where the type is one and not only a protocol. */
export async function gameNamed(type: string): Promise<string | null> {
  const { games } = await import("gamedig");
  return Object.hasOwn(games, type) ? (games[type]?.name ?? null) : null;
}
