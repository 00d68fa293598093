/** Four figures; three of them filter the list. */
import type { JSX } from "preact";
import { choice as choiceStore, choose } from "../list/wanted.ts";
import { useStore } from "../live/store.ts";
import { count } from "../model/format.ts";
import type { GroupKey } from "../model/states.ts";
import type { Totals } from "../model/totals.ts";

export function TotalsBar({ totals }: { readonly totals: Totals }): JSX.Element {
  return (
    <div class="totals" role="group" aria-label="Totals, to filter by">
      <div class="total">
        <b>
          {count(totals.players)}
          {totals.slots === 0 ? null : <small> / {count(totals.slots)}</small>}
        </b>
        players
      </div>
      <FilterTotal group="serving" figure={totals.serving} word="serving" />
      <FilterTotal group="asleep" figure={totals.asleep} word="asleep" />
      <FilterTotal group="trouble" figure={totals.trouble} word={totals.trouble === 1 ? "problem" : "problems"} />
    </div>
  );
}

function FilterTotal(props: { readonly group: GroupKey; readonly figure: number; readonly word: string }): JSX.Element {
  const { group, figure, word } = props;
  const { only } = useStore(choiceStore);
  return (
    <button
      type="button"
      class={group === "trouble" && figure > 0 ? "total bad" : "total"}
      aria-pressed={only === group}
      onClick={() => choose({ only: only === group ? null : group })}
    >
      <b>{count(figure)}</b>
      <span>{word}</span>
    </button>
  );
}
