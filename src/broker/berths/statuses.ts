/**
 * What servers say of themselves (STATUS= of sd_notify(3), and Speak). Watchers hear of a change, at most once a second
 * for each berth: a server may say something else at every packet.
 */
import type { Berth } from "./berth/berth.ts";
import type { BerthEvents } from "./berth/berth-events.ts";
import type { Lease } from "./berth/lease.ts";
import type { ReportClock } from "./report-clock.ts";

/** Milliseconds between two events of a berth. */
const EVENT_INTERVAL_MS = 1000;

/** What watchers of one berth were told. */
interface Told {
  at: number;
  /** Cancels the next event. */
  cancel: (() => void) | undefined;
}

export class Statuses {
  readonly #events: BerthEvents;
  readonly #clock: ReportClock;
  readonly #byBerth = new Map<Berth, Told>();

  constructor(events: BerthEvents, clock: ReportClock) {
    this.#events = events;
    this.#clock = clock;
    events.record((_, berth) => {
      if (berth.lease === undefined) this.#forget(berth);
    });
  }

  /** `text`: empty where the server says nothing any more. */
  put(berth: Berth, lease: Lease, text: string): void {
    if (text === (lease.status ?? "")) return;
    lease.status = text === "" ? undefined : text;
    const told = this.#byBerth.get(berth) ?? { at: Number.NEGATIVE_INFINITY, cancel: undefined };
    this.#byBerth.set(berth, told);
    if (told.cancel !== undefined) return;
    const wait = told.at + EVENT_INTERVAL_MS - this.#clock.now();
    if (wait <= 0) this.#tell(berth, told);
    else told.cancel = this.#clock.after(Math.min(wait, EVENT_INTERVAL_MS), () => this.#tell(berth, told));
  }

  /** Tells nothing any more. */
  close(): void {
    for (const berth of [...this.#byBerth.keys()]) this.#forget(berth);
  }

  #tell(berth: Berth, told: Told): void {
    told.cancel = undefined;
    told.at = this.#clock.now();
    this.#events.tell("status", berth);
  }

  #forget(berth: Berth): void {
    this.#byBerth.get(berth)?.cancel?.();
    this.#byBerth.delete(berth);
  }
}
