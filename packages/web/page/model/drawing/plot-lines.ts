/** The plots of a berth as names, scales and texts. Only what was measured has a plot. Pure. */
import type { Plot, Series, Span, Time } from "../../../src/api/shapes.ts";
import { bytes, clockTime, count, dayAndMonth } from "../format.ts";
import { niceTop } from "./scale.ts";
import { highest } from "./spark-path.ts";

export interface PlotLine {
  readonly key: "players" | "queue" | "cpu" | "memory";
  readonly title: string;
  /** `0 to 32 slots`. */
  readonly scale: string;
  readonly top: number;
  readonly mean: readonly (number | null)[];
  /** Shown as a band, over 30 days. */
  readonly high: readonly (number | null)[] | null;
  readonly text: (value: number) => string;
  /** Marks of crashes: on the first plot. */
  readonly crashes: readonly Time[];
  /** Packets lost in each step, told beside the value. Null for other plots than that of the queue. */
  readonly drops: readonly (number | null)[] | null;
  readonly lost: readonly Span[];
}

interface Kind {
  readonly key: PlotLine["key"];
  readonly title: string;
  readonly least: number;
  readonly text: (value: number) => string;
  readonly limitText: (limit: number) => string;
  /** When it is measured. */
  readonly condition: string;
}

const KINDS: readonly Kind[] = [
  {
    key: "players",
    title: "Players",
    least: 1,
    text: (n) => String(Math.round(n)),
    limitText: (n) => `${count(n)} slots`,
    condition: "where the berth has a query and its server answers",
  },
  {
    key: "queue",
    title: "Receive queue",
    least: 1024,
    text: bytes,
    limitText: (n) => `${bytes(n)} buffer`,
    condition: "for UDP sockets",
  },
  {
    key: "cpu",
    title: "CPU",
    least: 0.25,
    text: (n) => `${Math.round(n * 100)} %`,
    limitText: () => "",
    condition: "where a unit of systemd runs the server",
  },
  {
    key: "memory",
    title: "Memory",
    least: 1024 ** 2,
    text: bytes,
    limitText: (n) => `${bytes(n)} allowed`,
    condition: "where a unit of systemd runs the server",
  },
];

function isMeasured(plot: Plot): boolean {
  return highest(plot.mean) !== null;
}

/** `CPU: measured where a unit of systemd runs the server`, for what has no plot. */
export function unmeasured(series: Series): readonly string[] {
  return KINDS.filter(({ key }) => !isMeasured(series[key])).map(
    ({ title, condition }) => `${title}: measured ${condition}`,
  );
}

export function plotLines(series: Series): readonly PlotLine[] {
  const measured = KINDS.filter(({ key }) => isMeasured(series[key]));
  return measured.map(({ key, title, least, text, limitText }, at): PlotLine => {
    const plot: Plot = series[key];
    const most = Math.max(highest(plot.mean) ?? 0, highest(plot.high) ?? 0, least);
    const limit = plot.limit === null || limitText(plot.limit) === "" ? null : plot.limit;
    const top = limit === null ? niceTop(most * 1.05) : Math.max(limit, most);
    return {
      key,
      title,
      scale: `0 to ${limit === null ? text(top) : limitText(limit)}`,
      top,
      mean: plot.mean,
      high: series.range === "30d" ? plot.high : null,
      text,
      crashes: at === 0 ? series.crashes : [],
      drops: key === "queue" ? series.drops : null,
      lost: key === "queue" ? series.lost : [],
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
