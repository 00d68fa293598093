/** How the reader wants the list: filter, order, opened groups. It is kept while the reader is in another view. */
import { createStore, type Store } from "../live/store.ts";
import type { Wanted } from "../model/layout.ts";
import type { GroupKey } from "../model/states.ts";

export interface ListChoice extends Wanted {
  /** Groups that start folded and were opened. */
  readonly unfolded: ReadonlySet<GroupKey>;
  /** Groups of which every row is shown. Null is the list without groups. */
  readonly whole: ReadonlySet<GroupKey | null>;
}

export const choice: Store<ListChoice> = createStore<ListChoice>({
  filter: "",
  only: null,
  order: "trouble",
  unfolded: new Set(),
  whole: new Set(),
});

export function choose(change: Partial<ListChoice>): void {
  choice.set({ ...choice.get(), ...change });
}

/** The set with `key` put in, or taken out if it was there. */
export function toggled<T>(set: ReadonlySet<T>, key: T): ReadonlySet<T> {
  return set.has(key) ? new Set([...set].filter((one) => one !== key)) : new Set([...set, key]);
}
