/** Tells the parts of a broker what happens to its berths. Each part subscribes when it is made. */
import type { Berth, BerthEvent } from "./berth.ts";

type Hear = (event: BerthEvent, berth: Berth) => void;

export class BerthEvents {
  readonly #recorders: Hear[] = [];
  readonly #observers: Hear[] = [];
  readonly #onChange: () => void;

  /** `onChange` is called after everyone else has heard of a change. */
  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** Subscribes a part that writes down what a berth has. It hears of a change before any observer does. */
  record(hear: Hear): void {
    this.#recorders.push(hear);
  }

  /** Subscribes a part that acts on what happens, or tells clients. Observers hear in the order of subscription. */
  observe(hear: Hear): void {
    this.#observers.push(hear);
  }

  /** What a berth has, or who has it, changed: it is recorded first, so that nobody relies on what could be lost. */
  change(event: BerthEvent, berth: Berth): void {
    for (const hear of this.#recorders) hear(event, berth);
    this.tell(event, berth);
    this.#onChange();
  }

  /** Something happened that needs no record: only observers hear of it. */
  tell(event: BerthEvent, berth: Berth): void {
    for (const hear of this.#observers) hear(event, berth);
  }
}
