/** Asks the servers of all berths who plays, shows it, and reports it to the broker: then `berth ls` has it too. */
import type { BrokerLink } from "../broker/link.ts";
import type { Berths } from "../model/berths.ts";
import { Asker, askByGamedig, gameNamed } from "./asker.ts";
import type { PlayersAnswer } from "./question.ts";

export class PlayersOfBerths {
  readonly #berths: Berths;
  readonly #link: Pick<BrokerLink, "report">;
  readonly #asker: Asker;
  #isRefused = false;

  constructor(berths: Berths, link: Pick<BrokerLink, "report">) {
    this.#berths = berths;
    this.#link = link;
    this.#asker = new Asker({
      ask: askByGamedig,
      answered: (name, answer) => void this.#answered(name, answer),
      failed: (name, why) => console.error("berth-web: berth %s does not say who plays: %s", name, why),
    });
  }

  tick(now: number): void {
    this.#asker.tick(
      this.#berths.all().map(({ record }) => record),
      now,
    );
  }

  async #answered(berth: string, { players, slots, name, map }: PlayersAnswer): Promise<void> {
    const type = this.#berths.get(berth)?.record.query?.type;
    const game = type === undefined ? null : await gameNamed(type);
    this.#berths.answered(berth, { at: Date.now(), players, slots, game, map });
    try {
      await this.#link.report(berth, {
        players,
        ...(slots !== null && { max: slots }),
        ...(name !== null && { name }),
        ...(map !== null && { map }),
      });
      this.#isRefused = false;
    } catch (error) {
      // Its server may have ended meanwhile; and it is shown here all the same.
      if (!this.#isRefused) console.error("berth-web: the players of %s are not reported: %s", berth, error);
      this.#isRefused = true;
    }
  }
}
