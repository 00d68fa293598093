/** The plots of a berth: players, receive queue, CPU and memory of 24 h or 30 d. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Series } from "../../src/api/shapes.ts";
import { useAnswer } from "../live/ask.ts";
import { Lazy, type Loader } from "../parts/lazy.tsx";
import type { PlotsProps } from "./plots.tsx";

type Range = Series["range"];

const RANGES: readonly (readonly [Range, string])[] = [
  ["24h", "24 h"],
  ["30d", "30 d"],
];
const ASK_EVERY_MS = 60_000;

const plots: Loader<PlotsProps> = { load: async () => (await import("./plots.tsx")).Plots };

export function Use({ path }: { readonly path: string }): JSX.Element {
  const [range, setRange] = useState<Range>("24h");
  const answer = useAnswer<Series>(`berths/${path}/series?range=${range}`, ASK_EVERY_MS);
  return (
    <section class="section">
      <div class="section-head">
        <h2>Use</h2>
        <div class="switch" role="group" aria-label="Time range">
          {RANGES.map(([one, title]) => (
            <button key={one} type="button" aria-pressed={one === range} onClick={() => setRange(one)}>
              {title}
            </button>
          ))}
        </div>
      </div>
      {answer.kind === "ok" ? <Lazy loader={plots} props={{ series: answer.value }} /> : null}
      {answer.kind === "refused" ? <p class="muted">{answer.message}</p> : null}
      {answer.kind === "waiting" ? <div class="plots-awaited" /> : null}
    </section>
  );
}
