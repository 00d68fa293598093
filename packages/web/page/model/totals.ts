/** Sums over berths: the four figures of a host, and the parts of a host's card. Pure. */
import type { BerthRow } from "../../src/api/shapes.ts";
import { STATES } from "./states.ts";

export interface Totals {
  readonly players: number;
  readonly slots: number;
  readonly trouble: number;
  readonly changing: number;
  readonly serving: number;
  readonly asleep: number;
  readonly vacant: number;
}

export function totalsOf(berths: Iterable<BerthRow>): Totals {
  const sum = { players: 0, slots: 0, trouble: 0, changing: 0, serving: 0, asleep: 0, vacant: 0 };
  for (const berth of berths) {
    sum.players += berth.players ?? 0;
    sum.slots += berth.slots ?? 0;
    sum[STATES[berth.state].group] += 1;
  }
  return sum;
}
