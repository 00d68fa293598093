/** One plot, drawn by uPlot, without text: plots.tsx writes its name, scale and value above it. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Span, Time } from "../../src/api/shapes.ts";
import { theme } from "../frame/theme.ts";
import type { PlotLine } from "../model/drawing/plot-lines.ts";
import { colourOf, drawCrashes, drawIdle, drawLost } from "./plot-marks.ts";

const HEIGHT = 68;

export interface CanvasProps {
  readonly line: PlotLine;
  readonly times: readonly Time[];
  readonly idle: readonly Span[];
  /** Where the cursor of all plots is. */
  readonly at: number | null;
  readonly onAt: (at: number | null) => void;
  readonly label: string;
}

export function Canvas({ line, times, idle, at, onAt, label }: CanvasProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  useEffect(() => {
    const box = place.current;
    if (box === null) return undefined;
    const made = new uPlot(optionsOf(box, line, idle, onAt), dataOf(line, times), box);
    plot.current = made;
    const follow = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height: HEIGHT }));
    follow.observe(box);
    const redraw = (): void => made.redraw(false);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", redraw);
    const forget = theme.subscribe(redraw);
    return () => {
      forget();
      dark.removeEventListener("change", redraw);
      follow.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [line, times, idle, onAt]);
  const last = times.length - 1;
  return (
    <div class="area" ref={place} role="img" aria-label={label}>
      {at === null || last < 1 ? null : <span class="cursor" style={{ left: `${(at / last) * 100}%` }} />}
    </div>
  );
}

function dataOf(line: PlotLine, times: readonly Time[]): uPlot.AlignedData {
  const data: uPlot.AlignedData = [[...times], [...line.mean]];
  return line.high === null ? data : [...data, [...line.high]];
}

function optionsOf(
  box: HTMLElement,
  line: PlotLine,
  idle: readonly Span[],
  onAt: (at: number | null) => void,
): uPlot.Options {
  const none = { show: false };
  const isBand = line.high !== null;
  return {
    width: box.clientWidth,
    height: HEIGHT,
    padding: [0, 0, 0, 0],
    legend: none,
    axes: [none, none],
    scales: { x: { time: false }, y: { range: [0, line.top] } },
    cursor: { x: false, y: false, drag: { x: false, y: false }, points: none },
    series: [
      {},
      {
        stroke: () => colourOf(box, "accent"),
        width: 1.5,
        fill: () => colourOf(box, "accent", 0.1),
        points: none,
      },
      ...(isBand ? [{ points: none }] : []),
    ],
    bands: isBand ? [{ series: [2, 1], fill: () => colourOf(box, "accent", 0.25) }] : [],
    hooks: {
      setCursor: [(plot) => onAt(plot.cursor.idx ?? null)],
      drawClear: [(plot) => drawIdle(plot, idle, colourOf(box, "ink3", 0.12))],
      draw: [
        (plot) => {
          drawCrashes(plot, line.crashes, colourOf(box, "failed"));
          drawLost(plot, line.lost, colourOf(box, "problem"));
        },
      ],
    },
  };
}
