/** The four plots of a berth as names, scales and texts. Pure. */
import type { Plot, Series, Span, Time } from "../../../src/api/shapes.ts";
import { bytes, clockTime, count, dayAndMonth } from "../format.ts";
import { niceTop } from "./scale.ts";
import { highest } from "./spark-path.ts";

export interface PlotLine {
  readonly key: "players" | "packets" | "cpu" | "memory";
  readonly title: string;
  /** `0 to 32 slots`, or `not measured`. */
  readonly scale: string;
  readonly top: number;
  readonly mean: readonly (number | null)[];
  /** Shown as a band, over 30 days. */
  readonly high: readonly (number | null)[] | null;
  readonly text: (value: number) => string;
  readonly crashes: readonly Time[];
  readonly lost: readonly Span[];
}

interface Kind {
  readonly key: PlotLine["key"];
  readonly title: string;
  readonly least: number;
  readonly text: (value: number) => string;
  readonly limitText: (limit: number) => string;
}

const KINDS: readonly Kind[] = [
  {
    key: "players",
    title: "Players",
    least: 1,
    text: (n) => String(Math.round(n)),
    limitText: (n) => `${count(n)} slots`,
  },
  { key: "packets", title: "Packets received", least: 10, text: (n) => `${count(n)} / s`, limitText: () => "" },
  { key: "cpu", title: "CPU", least: 0.25, text: (n) => `${Math.round(n * 100)} %`, limitText: () => "" },
  { key: "memory", title: "Memory", least: 1024 ** 2, text: bytes, limitText: (n) => `${bytes(n)} allowed` },
];

export function plotLines(series: Series): readonly PlotLine[] {
  return KINDS.map(({ key, title, least, text, limitText }): PlotLine => {
    const plot: Plot = series[key];
    const isMeasured = highest(plot.mean) !== null;
    const most = Math.max(highest(plot.mean) ?? 0, highest(plot.high) ?? 0, least);
    const limit = plot.limit === null || limitText(plot.limit) === "" ? null : plot.limit;
    const top = limit === null ? niceTop(most * 1.05) : Math.max(limit, most);
    return {
      key,
      title,
      scale: isMeasured ? `0 to ${limit === null ? text(top) : limitText(limit)}` : "not measured",
      top,
      mean: plot.mean,
      high: series.range === "30d" ? plot.high : null,
      text,
      crashes: key === "players" ? series.crashes : [],
      lost: key === "packets" ? series.lost : [],
    };
  });
}

/** The time of each value. */
export function timesOf(series: Series): readonly Time[] {
  return series.players.mean.map((_, at) => series.start + at * series.step);
}

/** `14:02` of 24 h, `29 Nov 14:00` of 30 d. */
export function cursorTime(time: Time, range: Series["range"]): string {
  return range === "24h" ? clockTime(time) : `${dayAndMonth(time)} ${clockTime(time)}`;
}

/** Five texts below the plots, the last of which is `now`. */
export function axisTexts(times: readonly Time[], range: Series["range"]): readonly string[] {
  const [first = 0, last = 0] = [times[0], times.at(-1)];
  return [0, 1, 2, 3, 4].map((part) => {
    if (part === 4) return "now";
    const time = first + ((last - first) * part) / 4;
    return range === "24h" ? clockTime(time) : dayAndMonth(time);
  });
}
