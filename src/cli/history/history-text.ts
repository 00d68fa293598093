/** The past of a berth as a table with sparklines, and as CSV. Pure. */
import { printable } from "../../printable.ts";
import { sizeOf } from "../print/size.ts";
import { type Cell, renderTable } from "../print/table.ts";
import { type BestHour, type Measure, measures, type Step } from "./past.ts";

const bars = "▁▂▃▄▅▆▇█";
const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/** Characters of a sparkline: the rest of a row of 80 is for its numbers. */
const WIDTH = 48;

const titles: Readonly<Record<Measure, string>> = { players: "players", cpu: "CPU%", memory: "memory" };

/** What to print where no step has a measurement. `since` in local time. */
export function nothingText(berth: string, since: Date): string {
  const time = since.toLocaleString("sv-SE").slice(0, 16);
  return `berth-web has no players, processor time or memory of ${printable(berth)} since ${time}.
It measures while a server runs: players if the berth has server.query, the others if a unit of systemd runs it.
`;
}

export function isMeasured(steps: readonly Step[], measure: Measure): boolean {
  return steps.some(({ mean }) => mean[measure] !== null);
}

export function historyTable(steps: readonly Step[], isColoured: boolean): string {
  const heading: Cell[] = ["", "MEAN", "HIGH", ""].map((text) => ({ text, style: "bold" }));
  return renderTable([heading, ...measures.map((measure) => row(measure, steps))], isColoured);
}

function row(measure: Measure, steps: readonly Step[]): Cell[] {
  const means = steps.map(({ mean }) => mean[measure]);
  const known = means.filter((one) => one !== null);
  const highs = steps.map(({ high }) => high[measure]).filter((one) => one !== null);
  const mean = known.length === 0 ? null : known.reduce((sum, one) => sum + one, 0) / known.length;
  const high = highs.length === 0 ? null : Math.max(...highs);
  return [titles[measure], shown(measure, mean), shown(measure, high), sparkline(means, WIDTH)].map((text) => ({
    text,
  }));
}

function shown(measure: Measure, value: number | null): string {
  if (value === null) return "-";
  if (measure === "memory") return sizeOf(Math.round(value));
  return String(Math.round(value * (measure === "cpu" ? 100 : 1) * 10) / 10);
}

/** From 0 to the highest value. A space where nothing is known. Of more values than its width it shows the highest. */
export function sparkline(values: readonly (number | null)[], width: number): string {
  const per = Math.max(1, Math.ceil(values.length / width));
  const points = Array.from({ length: Math.ceil(values.length / per) }, (_, at) => {
    const part = values.slice(at * per, at * per + per).filter((one) => one !== null);
    return part.length === 0 ? null : Math.max(...part);
  });
  const top = Math.max(...points.map((one) => one ?? 0), 1e-9);
  return points.map((one) => (one === null ? " " : bars[Math.min(7, Math.floor((one / top) * 7.99))])).join("");
}

/** When it is best restarted, or why that is not known yet. */
export function bestHourText(best: BestHour | undefined, hasPlayers: boolean): string {
  if (best === undefined) {
    const why = hasPlayers ? "that takes two weeks of measured players" : "no players were measured; set server.query";
    return `The best hour for a restart is not known yet: ${why}.\n`;
  }
  const { weekday, hour, mean, command } = best;
  const average = `${Math.round(mean * 10) / 10} players on average`;
  const when = `The best hour for a restart: ${days[weekday]}, ${String(hour).padStart(2, "0")}:00 (${average}).`;
  return `${when}\n${command === undefined ? "" : `  ${printable(command)}\n`}`;
}

/** One line for each step, the first with names. Nothing between two commas: not known. */
export function historyCsv(steps: readonly Step[]): string {
  const names = ["time", ...measures.flatMap((measure) => [measure, `${measure}_high`])];
  const lines = steps.map(({ at, mean, high }) => {
    const values = measures.flatMap((measure) => [mean[measure], high[measure]]);
    return [new Date(at).toISOString(), ...values.map((one) => one ?? "")].join(",");
  });
  return `${[names.join(","), ...lines].join("\n")}\n`;
}
