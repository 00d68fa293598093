/** Plots, one below the other, with one time axis and one cursor; and what was not measured, in words. */
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Series } from "../../src/api/shapes.ts";
import { axisTexts, cursorTime, type PlotLine, plotLines, timesOf, unmeasured } from "../model/drawing/plot-lines.ts";
import { highest } from "../model/drawing/spark-path.ts";
import { count } from "../model/format.ts";
import { say } from "../parts/say.ts";
import { Canvas } from "./canvas.tsx";

export interface PlotsProps {
  readonly series: Series;
}

export function Plots({ series }: PlotsProps): JSX.Element {
  const lines = useMemo(() => plotLines(series), [series]);
  const missing = unmeasured(series);
  return (
    <>
      {lines.length === 0 ? null : <Measured series={series} lines={lines} />}
      {missing.length === 0 ? null : <Unmeasured range={series.range} texts={missing} isAll={lines.length === 0} />}
    </>
  );
}

function Measured({ series, lines }: PlotsProps & { readonly lines: readonly PlotLine[] }): JSX.Element {
  const times = useMemo(() => timesOf(series), [series]);
  const [at, setAt] = useState<number | null>(null);
  const last = times.length - 1;
  const shown = Math.min(at ?? last, last);
  const when = at === null ? "now" : `at ${cursorTime(times[shown] ?? 0, series.range)}`;
  const move = (event: KeyboardEvent): void => {
    const by = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    if (by === 0) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(last, shown + by));
    setAt(to);
    say(
      `${cursorTime(times[to] ?? 0, series.range)}: ${lines.map((line) => `${line.title} ${textAt(line, to)}`).join(", ")}`,
    );
  };
  const range = series.range === "24h" ? "24 h" : "30 d";
  return (
    <>
      <div
        class="plots"
        role="group"
        tabIndex={0}
        aria-label={`Plots of ${range}. Left and right move the cursor.`}
        onKeyDown={move}
        onBlur={() => setAt(null)}
        onPointerLeave={() => setAt(null)}
      >
        {lines.map((line) => (
          <figure key={line.key} class="plot">
            <figcaption>
              <span>
                <b>{line.title}</b> {line.scale}
              </span>
              <span>
                <span>{when}</span> <span class="value">{textAt(line, shown)}</span>
              </span>
            </figcaption>
            <Canvas
              line={line}
              times={times}
              idle={series.idle}
              at={at}
              onAt={setAt}
              label={`${line.title} in ${range}: now ${textAt(line, last)}, at the most ${mostText(line)}`}
            />
          </figure>
        ))}
        <div class="axis" aria-hidden="true">
          {axisTexts(times, series.range).map((text) => (
            <span key={text}>{text}</span>
          ))}
        </div>
      </div>
      <Key series={series} />
    </>
  );
}

function textAt(line: PlotLine, at: number): string {
  const value = line.mean[at] ?? null;
  if (value === null) return "–";
  const lost = line.drops?.[at] ?? 0;
  return lost === 0 ? line.text(value) : `${line.text(value)}, ${count(lost)} lost`;
}

function mostText(line: PlotLine): string {
  const most = highest(line.high ?? line.mean);
  return most === null ? "not known" : line.text(most);
}

function Unmeasured(props: {
  readonly range: Series["range"];
  readonly texts: readonly string[];
  readonly isAll: boolean;
}): JSX.Element {
  const { range, texts, isAll } = props;
  const time = range === "24h" ? "in the last 24 hours" : "in the last 30 days";
  return (
    <div class="unmeasured">
      <p>{isAll ? `Nothing was measured ${time}. While a server runs there are:` : `Not measured ${time}:`}</p>
      <ul>
        {texts.map((text) => (
          <li key={text}>{text}</li>
        ))}
      </ul>
    </div>
  );
}

/** What the marks mean; only those that are there. */
function Key({ series }: { readonly series: Series }): JSX.Element {
  return (
    <div class="key">
      {series.crashes.length > 0 ? <Mark mark="crash" text="crash" /> : null}
      {series.lost.length > 0 ? <Mark mark="lost" text="packets lost" /> : null}
      {series.idle.length > 0 ? <Mark mark="idle" text="no server" /> : null}
      {series.range === "30d" ? <Mark mark="band" text="highest in 4 h" /> : null}
    </div>
  );
}

function Mark({ mark, text }: { readonly mark: string; readonly text: string }): JSX.Element {
  return (
    <span>
      <i class={`mark-${mark}`} />
      {text}
    </span>
  );
}
