/** Above the list: the filter, the order, and how many are shown. */
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { PHONE, useMedia } from "../live/media.ts";
import { useStore } from "../live/store.ts";
import { count, plural } from "../model/format.ts";
import { ORDERS } from "../model/layout.ts";
import { Icon } from "../parts/icon.tsx";
import { say } from "../parts/say.ts";
import { choice as choiceStore, choose } from "./wanted.ts";

export function Tools({ shown, all }: { readonly shown: number; readonly all: number }): JSX.Element {
  const choice = useStore(choiceStore);
  const isPhone = useMedia(PHONE);
  const isNarrowed = choice.filter.trim() !== "" || choice.only !== null;
  const text = isNarrowed ? `${count(shown)} of ${count(all)}` : plural(all, "berth");
  useEffect(() => {
    if (isNarrowed) say(text);
  }, [text, isNarrowed]);
  return (
    <div class="tools">
      <div class="filter">
        <Icon name="search" />
        <input
          id="filter"
          type="search"
          aria-label="Filter berths"
          autocomplete="off"
          spellcheck={false}
          placeholder={isPhone ? "Filter" : "Filter by name, game, state, address"}
          value={choice.filter}
          onInput={(event) => choose({ filter: event.currentTarget.value })}
        />
        <span class="key-hint keys-only" aria-hidden="true">
          /
        </span>
      </div>
      <select
        class="select"
        aria-label="Order"
        value={choice.order}
        onChange={(event) => {
          const order = ORDERS.find((one) => one.order === event.currentTarget.value)?.order;
          if (order !== undefined) choose({ order });
        }}
      >
        {ORDERS.map(({ order, title }) => (
          <option key={order} value={order}>
            {title}
          </option>
        ))}
      </select>
      <span class="count num">{text}</span>
    </div>
  );
}
