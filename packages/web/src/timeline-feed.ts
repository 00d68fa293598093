/**
 * What goes into the timelines of berths, to the history and to the open pages. A tenant can take and release its berth
 * in a loop, so one limit holds for both.
 */
import type { TimelineEvent } from "./api/history-shapes.ts";
import { type BerthId, EventLimit, type Happened } from "./history/event-limit.ts";

export interface FeedTargets {
  /** Writes them to the history. */
  keep(happened: readonly Happened[]): Promise<void>;
  /** Sends one to every open page. */
  show(happened: Happened): void;
}

export class TimelineFeed {
  readonly #targets: FeedTargets;
  readonly #limit = new EventLimit();

  constructor(targets: FeedTargets) {
    this.#targets = targets;
  }

  /** Of a berth with too many events in a minute, the rest is counted instead. Resolves when they are written. */
  happened(berth: BerthId, event: TimelineEvent): Promise<void> {
    return this.#tell(this.#limit.admit({ ...berth, event }));
  }

  /** Tells how many events were left out in minutes that are over. `now` in milliseconds. */
  tick(now: number): Promise<void> {
    return this.#tell(this.#limit.over(now));
  }

  /** Tells how many were left out until now. */
  close(): Promise<void> {
    return this.tick(Number.POSITIVE_INFINITY);
  }

  async #tell(happened: readonly Happened[]): Promise<void> {
    if (happened.length === 0) return;
    for (const one of happened) this.#targets.show(one);
    await this.#targets.keep(happened);
  }
}
