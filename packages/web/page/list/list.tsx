/** The berths as a table of groups. */
import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import type { BerthRow, Host, Time } from "../../src/api/shapes.ts";
import { useStore } from "../live/store.ts";
import { count } from "../model/format.ts";
import { type IsUnreachable, layOut } from "../model/layout.ts";
import { keyOf } from "../model/world.ts";
import { Group } from "./group.tsx";
import { useHeld, useOccupied } from "./use-held.ts";
import { choice as choiceStore, choose } from "./wanted.ts";

const DENSE_FROM = 101;

export interface ListProps {
  readonly berths: readonly BerthRow[];
  readonly hosts: ReadonlyMap<string, Host>;
  /** Such hosts' berths have a group of their own. */
  readonly isUnreachable: IsUnreachable;
  /** Of the world: the list is sorted again when it grows. */
  readonly revision: number;
  /** A fleet's list: with the hosts' names. */
  readonly isFleet: boolean;
  /** The host, or "fleet". */
  readonly scope: string;
  readonly openKey: string | null;
  /** When the data was current. Null: it is current now, except that of hosts that do not answer. */
  readonly asOf: Time | null;
}

export function List(props: ListProps): JSX.Element {
  const { berths, hosts, isUnreachable, revision, isFleet, scope, openKey, asOf } = props;
  const table = useRef<HTMLDivElement>(null);
  const choice = useStore(choiceStore);
  const { filter, only, order } = choice;
  // `berths` is left out: a change of numbers alone must not change the order.
  const fresh = useMemo(
    () => layOut(berths, { filter, only, order }, isUnreachable),
    [revision, scope, filter, only, order],
  );
  const sections = useHeld(fresh, useOccupied(table), [scope, filter, only, order].join("\n"));
  const byKey = new Map(berths.map((berth) => [keyOf(berth), berth]));
  const isBig = berths.length >= DENSE_FROM;
  const isNarrowed = filter.trim() !== "" || only !== null;
  return (
    <div
      ref={table}
      class={isBig ? "list dense" : "list"}
      role="table"
      aria-label="Berths"
      aria-rowcount={berths.length}
    >
      {sections.length === 0 ? <None berths={berths.length} /> : <Columns />}
      {sections.map((section) => (
        <Group
          key={section.group ?? "all"}
          section={section}
          berths={section.keys.map((key) => byKey.get(key)).filter((berth) => berth !== undefined)}
          hosts={hosts}
          choice={choice}
          folds={section.folds && isBig && !isNarrowed}
          openKey={openKey}
          asOf={asOf}
          withHost={isFleet}
        />
      ))}
    </div>
  );
}

function Columns(): JSX.Element {
  return (
    <div role="rowgroup">
      <div role="row" class="columns">
        <span role="columnheader">State</span>
        <span role="columnheader">Berth, game</span>
        <span role="columnheader">Players, 24 h</span>
        <span role="columnheader">Address, image</span>
        <span role="columnheader">Memory</span>
      </div>
    </div>
  );
}

function None({ berths }: { readonly berths: number }): JSX.Element {
  return (
    <div role="row">
      <div role="cell" class="none">
        No berth matches.{" "}
        <button type="button" class="text-button" onClick={() => choose({ filter: "", only: null })}>
          Show all {count(berths)}
        </button>
      </div>
    </div>
  );
}
