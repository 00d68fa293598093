/** Tells the parts of a broker about its berths. Each part subscribes when it is made. */
import type { Berth } from "./berth.ts";
import type { BerthEvent } from "./berth-view.ts";

type Hear = (event: BerthEvent, berth: Berth) => void;

export class BerthEvents {
  readonly #recorders: Hear[] = [];
  readonly #observers: Hear[] = [];
  readonly #onChange: () => void;

  /** `onChange` is called after everyone else has heard of a change. */
  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** Subscribes a part that records what a berth has. It runs before all observers. */
  record(hear: Hear): void {
    this.#recorders.push(hear);
  }

  /** Subscribes a part that reacts to events or tells clients. Observers run in the order of subscription. */
  observe(hear: Hear): void {
    this.#observers.push(hear);
  }

  /** Reports a change that must be recorded. Recorders run first, so nobody relies on what could be lost. */
  change(event: BerthEvent, berth: Berth): void {
    for (const hear of this.#recorders) hear(event, berth);
    this.tell(event, berth);
    this.#onChange();
  }

  /** Reports that a berth, of which everybody heard that it was removed, has nothing any more. Only recorders run. */
  forget(berth: Berth): void {
    for (const hear of this.#recorders) hear("removed", berth);
    this.#onChange();
  }

  /** Reports an event that needs no record: only observers run. */
  tell(event: BerthEvent, berth: Berth): void {
    berth.noteState();
    for (const hear of this.#observers) hear(event, berth);
  }
}
