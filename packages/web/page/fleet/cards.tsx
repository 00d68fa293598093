/** Hosts as cards: those that are not reachable first, then those in trouble. */
import type { JSX } from "preact";
import type { BerthRow, Host } from "../../src/api/shapes.ts";
import { now } from "../live/clock.ts";
import { type Card, cardsOf } from "../model/cards.ts";
import { asOf, bytes, count } from "../model/format.ts";
import { hrefOf } from "../model/route.ts";
import { Icon } from "../parts/icon.tsx";
import { Spark } from "../parts/spark.tsx";
import { For } from "../parts/ticking.tsx";

export function Cards(props: { readonly hosts: readonly Host[]; readonly berths: readonly BerthRow[] }): JSX.Element {
  return (
    <ul class="cards">
      {cardsOf(props.hosts, props.berths).map((card) => (
        <li key={card.host.id}>
          <HostCard card={card} />
        </li>
      ))}
    </ul>
  );
}

function HostCard({ card }: { readonly card: Card }): JSX.Element {
  const { host, totals, parts } = card;
  const down = host.unreachableSince;
  return (
    <a class={down === null ? "card" : "card down"} href={hrefOf({ view: "host", host: host.id })}>
      <div>
        <h2>{host.id}</h2>
        <Flag isDown={down !== null} trouble={totals.trouble} />
      </div>
      <div>
        <span class="figure">
          {count(totals.players)}
          <small>{totals.slots === 0 ? "" : ` / ${count(totals.slots)}`} players</small>
        </span>
        {down === null ? <Spark values={host.spark} top={null} span="24 h" /> : null}
      </div>
      <div class="parts" aria-hidden="true">
        {parts.map((part) => (
          <i key={part.key} class={`part-${part.key}`} style={{ flex: String(part.count) }} />
        ))}
      </div>
      <p class="num">{parts.map((part) => `${part.count}\u00a0${part.words.replaceAll(" ", "\u00a0")}`).join(", ")}</p>
      {down === null ? (
        <HostLine host={host} />
      ) : (
        <p class="muted num">
          As of {asOf(down, now())}, <For since={down} /> ago
        </p>
      )}
    </a>
  );
}

function Flag({ isDown, trouble }: { readonly isDown: boolean; readonly trouble: number }): JSX.Element {
  if (isDown) {
    return (
      <span class="flag bad">
        <Icon name="failed" />
        Not reachable
      </span>
    );
  }
  return trouble > 0 ? (
    <span class="flag bad">
      <Icon name="problem" />
      {count(trouble)} in trouble
    </span>
  ) : (
    <span class="flag muted">
      <Icon name="check" />
      All well
    </span>
  );
}

function HostLine({ host }: { readonly host: Host }): JSX.Element {
  const { version, up, memory } = host;
  return (
    <p class="muted num">
      {version === null ? "berthd" : `berthd ${version}`}
      {up === null ? null : (
        <>
          {" · up\u00a0"}
          <For since={up} />
        </>
      )}
      {memory === null ? null : ` · ${bytes(memory.used)}${memory.limit ? ` of\u00a0${bytes(memory.limit)}` : ""}`}
    </p>
  );
}
