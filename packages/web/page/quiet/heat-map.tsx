/** Players by weekday and hour: numbers in cells, the best hour outlined. Arrows move in it, it is one tab stop. */
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Quiet } from "../../src/api/shapes.ts";
import { type Cell, DAY_NAMES, shadeOf, step } from "../model/drawing/heat.ts";
import { highest } from "../model/drawing/spark-path.ts";
import { hourOfDay, mean } from "../model/format.ts";

const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const SHADES = [0, 1, 2, 3, 4, 5, 6];

export function HeatMap({ quiet }: { readonly quiet: Quiet }): JSX.Element {
  const best: Cell | null =
    quiet.enough && quiet.best !== null ? { day: quiet.best.weekday, hour: quiet.best.hour } : null;
  const [tabStop, setTabStop] = useState<Cell>(best ?? { day: 0, hour: 0 });
  const [shown, show] = useState<Cell | null>(best);
  const grid = useRef<HTMLDivElement>(null);
  const top = highest(quiet.mean.flat()) ?? 0;
  const valueAt = ({ day, hour }: Cell): number | null => quiet.mean[day]?.[hour] ?? null;
  const move = (event: KeyboardEvent): void => {
    const to = step(tabStop, event.key, isTurned(grid.current));
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    if (to === undefined) return;
    setTabStop(to);
    grid.current?.querySelector<HTMLElement>(`[data-cell="${to.day} ${to.hour}"]`)?.focus();
  };
  return (
    <>
      <div ref={grid} class="heat" role="grid" aria-label="Players by weekday and hour" tabIndex={-1} onKeyDown={move}>
        <div role="row">
          <span role="columnheader" class="visually-hidden">
            Day
          </span>
          {HOURS.map((hour) => (
            <span key={hour} role="columnheader" class="hour" style={{ "--h": hour }}>
              {String(hour).padStart(2, "0")}
            </span>
          ))}
        </div>
        {DAY_NAMES.map((name, day) => (
          <div key={name} role="row" style={{ "--d": day }}>
            <span role="rowheader" class="day" aria-label={name}>
              {name.slice(0, 3)}
            </span>
            {HOURS.map((hour) => {
              const cell = { day, hour };
              const value = valueAt(cell);
              const isBest = same(cell, best);
              return (
                <span
                  key={hour}
                  role="gridcell"
                  class={`cell ${value === null ? "unmeasured" : `heat${shadeOf(value, top)}`}${isBest ? " best" : ""}`}
                  style={{ "--h": hour }}
                  tabIndex={same(cell, tabStop) ? 0 : -1}
                  data-cell={`${day} ${hour}`}
                  aria-label={sentence(cell, value, isBest)}
                  onFocus={() => show(cell)}
                  onPointerEnter={() => show(cell)}
                >
                  {value === null ? "–" : mean(value)}
                </span>
              );
            })}
          </div>
        ))}
      </div>
      <div class="heat-legend">
        <span class="num">{shown === null ? "" : sentence(shown, valueAt(shown), same(shown, best))}</span>
        <span class="scale" aria-hidden="true" hidden={top === 0}>
          <span class="num">0</span>
          {SHADES.map((shade) => (
            <i key={shade} class={`heat${shade}`} />
          ))}
          <span class="num">{Math.round(top)} players</span>
        </span>
        <span class="muted">Times are the host's, {quiet.zone}</span>
      </div>
    </>
  );
}

function sentence({ day, hour }: Cell, value: number | null, isBest: boolean): string {
  const players = value === null ? "not measured" : `${mean(value)} players`;
  return `${DAY_NAMES[day]} ${hourOfDay(hour)}, ${players}${isBest ? ": the quietest hour (outlined)" : ""}`;
}

function same(a: Cell, b: Cell | null): boolean {
  return a.day === b?.day && a.hour === b.hour;
}

/** Whether hours run downwards: quiet.css turns a narrow map. */
function isTurned(grid: HTMLElement | null): boolean {
  const columns = grid === null ? "" : getComputedStyle(grid).gridTemplateColumns;
  return columns.split(" ").length < 24;
}
