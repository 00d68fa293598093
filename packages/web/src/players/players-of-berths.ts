/** Asks the servers of all berths who plays, shows it, and reports it to the broker: then `berth ls` has it too. */
import type { BrokerLink } from "../broker/link.ts";
import type { Berths } from "../model/berths.ts";
import { Asker } from "./asker.ts";
import { AskingProcesses } from "./asking-processes.ts";
import type { PlayersAnswer } from "./question.ts";

export class PlayersOfBerths {
  readonly #berths: Berths;
  readonly #link: Pick<BrokerLink, "report">;
  readonly #asker: Asker;
  readonly #processes = new AskingProcesses();
  /** Berths whose last report the broker refused. */
  readonly #refused = new Set<string>();
  #isClosed = false;

  constructor(berths: Berths, link: Pick<BrokerLink, "report">) {
    this.#berths = berths;
    this.#link = link;
    this.#asker = new Asker({
      ask: (question, isAlone) => this.#processes.ask(question, isAlone),
      answered: (name, answer) => void this.#answered(name, answer),
      failed: (name, why) => {
        if (!this.#isClosed) console.error("berth-web: berth %s does not say who plays: %s", name, why);
      },
    });
  }

  tick(now: number): void {
    this.#asker.tick(
      this.#berths.all().map(({ record }) => record),
      now,
    );
  }

  /** Ends the processes that ask. */
  close(): void {
    this.#isClosed = true;
    this.#processes.close();
  }

  async #answered(berth: string, answer: PlayersAnswer): Promise<void> {
    const { players, slots, name, map, game } = answer;
    this.#berths.answered(berth, { at: Date.now(), players, slots, game, map });
    try {
      await this.#link.report(berth, {
        players,
        ...(slots !== null && { max: slots }),
        ...(name !== null && { name }),
        ...(map !== null && { map }),
      });
      this.#refused.delete(berth);
    } catch (error) {
      // Its server may have ended meanwhile; and it is shown here all the same.
      if (!this.#refused.has(berth)) console.error("berth-web: the players of %s are not reported: %s", berth, error);
      this.#refused.add(berth);
    }
  }
}
