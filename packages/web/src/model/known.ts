/** What this process knows of one berth: what the broker says, what was measured, what its server answers. */
import type { BerthRecord } from "berthd";
import type { StateWord } from "../api/shapes.ts";
import type { Measured } from "./measured.ts";

export interface Known {
  record: BerthRecord;
  state: StateWord;
  /** Milliseconds since 1970; null: since before this process. */
  since: number | null;
  measured: Measured | undefined;
  /** Processors that its server used between the last two measurements. */
  cpu: number | null;
  /** Datagrams lost since losses began, and when the last one was. */
  loss: Loss | undefined;
  /** Whether a server of this berth has ever reported ready. If so, the next one is starting until it does. */
  saysReady: boolean;
  /** When its present lease began, as far as that was seen. */
  leasedAt: number | null;
  query: Answered | undefined;
  readonly players: PlayersOfADay;
}

export interface Loss {
  readonly count: number;
  readonly since: number;
  readonly last: number;
}

/** What a server answered to a question about its players. */
export interface Answered {
  readonly at: number;
  readonly players: number;
  readonly slots: number | null;
  readonly game: string | null;
  readonly map: string | null;
}

/** Milliseconds since 1970, of the broker's microseconds. */
export function timeOf(microseconds: number | null | undefined): number | null {
  return microseconds === null || microseconds === undefined ? null : Math.floor(microseconds / 1000);
}

/** How long an answer, and a loss of packets, is news. Milliseconds. */
export const FRESH_MS: number = 5 * 60_000;

const HALF_HOUR = 30 * 60_000;
/** Half hours of a day. */
export const SPARK_POINTS = 48;

/** The mean of players by half hours, for the last day. The present half hour is shown when it is over. */
export class PlayersOfADay {
  readonly #means = new Map<number, number>();
  #spark: { readonly slot: number; readonly means: readonly (number | null)[] } | undefined;
  #slot = 0;
  #sum = 0;
  #count = 0;

  /** A mean of an earlier half hour, out of the history. */
  restore(at: number, mean: number): void {
    this.#means.set(Math.floor(at / HALF_HOUR), Math.round(mean * 10) / 10);
    this.#spark = undefined;
  }

  add(at: number, players: number): void {
    const slot = Math.floor(at / HALF_HOUR);
    if (slot !== this.#slot) this.#begin(slot);
    this.#sum += players;
    this.#count++;
  }

  #begin(slot: number): void {
    if (this.#count > 0) this.#means.set(this.#slot, Math.round((this.#sum / this.#count) * 10) / 10);
    for (const old of this.#means.keys()) if (old < slot - SPARK_POINTS) this.#means.delete(old);
    this.#slot = slot;
    this.#sum = 0;
    this.#count = 0;
  }

  /** The oldest first. Null where nothing was measured. The same array until another half hour is over. */
  spark(now: number): readonly (number | null)[] {
    const slot = Math.floor(now / HALF_HOUR);
    if (slot !== this.#slot && this.#count > 0) this.#begin(slot);
    if (this.#spark?.slot !== slot) {
      const means = Array.from({ length: SPARK_POINTS }, (_, at) => this.#means.get(slot - SPARK_POINTS + at) ?? null);
      this.#spark = { slot, means };
    }
    return this.#spark.means;
  }
}
