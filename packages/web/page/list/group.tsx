/** Rows under one heading. The first 200 only, until all are asked for. */
import type { JSX } from "preact";
import type { BerthRow, Host, Time } from "../../src/api/shapes.ts";
import { now } from "../live/clock.ts";
import { count, asOf as dateOf } from "../model/format.ts";
import type { Section } from "../model/layout.ts";
import { keyOf } from "../model/world.ts";
import { Icon } from "../parts/icon.tsx";
import { Row } from "./row.tsx";
import { choose, type ListChoice, toggled } from "./wanted.ts";

const FIRST_ROWS = 200;

export interface GroupProps {
  readonly section: Section;
  readonly berths: readonly BerthRow[];
  readonly hosts: ReadonlyMap<string, Host>;
  readonly choice: ListChoice;
  /** May be folded now. */
  readonly folds: boolean;
  readonly openKey: string | null;
  readonly asOf: Time | null;
  readonly withHost: boolean;
}

export function Group(props: GroupProps): JSX.Element {
  const { section, berths, hosts, choice, folds, openKey, asOf, withHost } = props;
  const isOpen = !folds || (section.group !== null && choice.unfolded.has(section.group));
  const shown = choice.whole.has(section.group) ? berths : berths.slice(0, FIRST_ROWS);
  return (
    <div role="rowgroup">
      {section.group === null ? null : <Heading {...props} isOpen={isOpen} />}
      {isOpen
        ? shown.map((berth) => (
            <Row
              key={keyOf(berth)}
              berth={berth}
              open={keyOf(berth) === openKey}
              withHost={withHost}
              frozen={hosts.get(berth.host)?.unreachableSince ?? asOf}
            />
          ))
        : null}
      {isOpen && shown.length < berths.length ? (
        <div role="row">
          <div role="cell">
            <button type="button" class="more" onClick={() => choose({ whole: toggled(choice.whole, section.group) })}>
              Show the other {count(berths.length - shown.length)}
            </button>
          </div>
        </div>
      ) : null}
    </div>
  );
}

function Heading(props: GroupProps & { readonly isOpen: boolean }): JSX.Element {
  const { section, berths, choice, folds, isOpen } = props;
  const { group } = section;
  const title = (
    <>
      {section.title} <span class="muted num">{count(berths.length)}</span>
    </>
  );
  return (
    <div role="row" class="group">
      <span role="rowheader">
        {folds && group !== null ? (
          <button
            type="button"
            aria-expanded={isOpen}
            onClick={() => choose({ unfolded: toggled(choice.unfolded, group) })}
          >
            <Icon name="fold" />
            <span>{title}</span>
          </button>
        ) : (
          title
        )}
      </span>
      {group === "unreachable" ? (
        <span role="cell" class="why num">
          {unreachableHosts(props)}
        </span>
      ) : null}
    </div>
  );
}

/** `ash-1, as of 14:24`. */
function unreachableHosts({ berths, hosts }: GroupProps): string {
  const ids = [...new Set(berths.map((berth) => berth.host))];
  return ids
    .map((id) => {
      const since = hosts.get(id)?.unreachableSince ?? null;
      return since === null ? id : `${id}, as of ${dateOf(since, now())}`;
    })
    .join("; ");
}
