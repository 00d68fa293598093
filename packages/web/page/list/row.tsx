/** A berth in the list. The whole row is the link of its name; the copy button lies above it. */
import type { JSX } from "preact";
import type { BerthRow, Memory, Time } from "../../src/api/shapes.ts";
import { gameLine, isFull, newerVersion } from "../model/berth-lines.ts";
import { bytes } from "../model/format.ts";
import { hrefOf } from "../model/route.ts";
import { keyOf } from "../model/world.ts";
import { CopyButton } from "../parts/copy-button.tsx";
import { memo } from "../parts/memo.ts";
import { Spark } from "../parts/spark.tsx";
import { StateMark } from "../parts/state-mark.tsx";
import { SinceLine } from "./since-line.tsx";

export interface RowProps {
  readonly berth: BerthRow;
  /** Its detail is shown. */
  readonly open: boolean;
  /** Names the host in the second line. */
  readonly withHost: boolean;
  /** When the data was current, where the host does not answer. Null: it is current now. */
  readonly frozen: Time | null;
}

export const Row = memo(({ berth, open, withHost, frozen }: RowProps): JSX.Element => {
  const newer = newerVersion(berth);
  return (
    <div
      role="row"
      class={["row", open ? "open" : "", frozen === null ? "" : "stale"].filter(Boolean).join(" ")}
      data-state={berth.state}
      data-key={keyOf(berth)}
    >
      <div role="cell" class="state">
        <StateMark state={berth.state} outdated={berth.outdated !== null}>
          <SinceLine berth={berth} frozen={frozen} />
        </StateMark>
      </div>
      <div role="cell" class="name">
        <span class="two-lines">
          <a href={hrefOf({ view: "berth", host: berth.host, name: berth.name })}>{berth.name}</a>
          <span>{[withHost ? berth.host : null, gameLine(berth)].filter(Boolean).join(" · ")}</span>
        </span>
      </div>
      <div role="cell" class="players">
        <span class="number">
          <span class="on">{berth.players ?? "–"}</span>
          {berth.slots === null ? null : <i> / {berth.slots}</i>}
        </span>
        <Spark values={berth.spark} top={berth.slots} span="24 h" />
      </div>
      <div role="cell" class="address">
        <span class="two-lines">
          <span>{berth.address ?? "–"}</span>
          <span>
            {berth.image}
            {newer === null ? null : <span class="newer"> → {newer}</span>}
          </span>
        </span>
        {berth.address === null ? null : <CopyButton text={berth.address} what={`address of ${berth.name}`} />}
      </div>
      <div role="cell" class="memory">
        <MemoryLines memory={berth.memory} />
      </div>
    </div>
  );
});

function MemoryLines({ memory }: { readonly memory: Memory | null }): JSX.Element {
  return (
    <span class="two-lines">
      {memory === null ? (
        <span class="muted">–</span>
      ) : (
        <span class={isFull(memory) ? "warn" : ""}>{bytes(memory.used)}</span>
      )}
      <span>{memory?.limit ? `of ${bytes(memory.limit)}` : ""}</span>
    </span>
  );
}
