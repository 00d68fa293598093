/**
 * Tells watchers that something has changed of berths, at most once a second for each berth: the first change at once,
 * further ones together. A server may change what it says at every packet.
 */
import type { Berth } from "../berth/berth.ts";
import type { BerthEvents } from "../berth/berth-events.ts";
import type { BerthEvent } from "../berth/berth-view.ts";
import type { ReportClock } from "./report-clock.ts";

const INTERVAL_MS = 1000;

interface Told {
  /** When the last event was told. */
  at: number;
  /** Cancels the next one. */
  cancel: (() => void) | undefined;
}

export class PacedEvents {
  readonly #event: BerthEvent;
  readonly #events: BerthEvents;
  readonly #clock: ReportClock;
  readonly #byBerth = new Map<Berth, Told>();

  constructor(event: BerthEvent, events: BerthEvents, clock: ReportClock) {
    this.#event = event;
    this.#events = events;
    this.#clock = clock;
  }

  /** Tells it now, or within a second. */
  tell(berth: Berth): void {
    const told = this.#byBerth.get(berth) ?? { at: Number.NEGATIVE_INFINITY, cancel: undefined };
    this.#byBerth.set(berth, told);
    if (told.cancel !== undefined) return;
    const wait = told.at + INTERVAL_MS - this.#clock.now();
    if (wait <= 0) this.#tellNow(berth, told);
    // The time of the host may have been set back.
    else told.cancel = this.#clock.after(Math.min(wait, INTERVAL_MS), () => this.#tellNow(berth, told));
  }

  /** Tells nothing that was not told yet. The next change is told at once. */
  forget(berth: Berth): void {
    this.#byBerth.get(berth)?.cancel?.();
    this.#byBerth.delete(berth);
  }

  /** Forgets all berths. */
  close(): void {
    for (const berth of [...this.#byBerth.keys()]) this.forget(berth);
  }

  #tellNow(berth: Berth, told: Told): void {
    told.cancel = undefined;
    told.at = this.#clock.now();
    this.#events.tell(this.#event, berth);
  }
}
