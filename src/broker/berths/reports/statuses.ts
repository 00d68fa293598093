/** What servers say of themselves (STATUS= of sd_notify(3), and Speak). */
import type { Berth } from "../berth/berth.ts";
import type { BerthEvents } from "../berth/berth-events.ts";
import type { Lease } from "../berth/lease.ts";
import { PacedEvents } from "./paced-events.ts";
import { type ReportClock, systemClock } from "./report-clock.ts";

export class Statuses {
  readonly #changes: PacedEvents;

  constructor(events: BerthEvents, clock: ReportClock = systemClock) {
    this.#changes = new PacedEvents("status", events, clock);
    events.record((_, berth) => {
      if (berth.lease === undefined) this.#changes.forget(berth);
    });
  }

  /** `text`: empty where the server says nothing any more. */
  put(berth: Berth, lease: Lease, text: string): void {
    if (text === (lease.status ?? "")) return;
    lease.status = text === "" ? undefined : text;
    this.#changes.tell(berth);
  }

  /** Tells nothing any more. */
  close(): void {
    this.#changes.close();
  }
}
