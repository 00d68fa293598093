/** The past of one berth, out of the answers of berth-web. Pure. */
import { BerthError } from "../../errors.ts";
import { isObject, type JsonObject } from "./web-client.ts";

/** What is measured, in the order of the table. */
export const measures = ["players", "cpu", "memory"] as const;
export type Measure = (typeof measures)[number];

/** One step of time. */
export interface Step {
  /** Its beginning, in milliseconds since 1970. */
  readonly at: number;
  /** Mean and highest of each; null where no server ran, or nothing is known. */
  readonly mean: Readonly<Record<Measure, number | null>>;
  readonly high: Readonly<Record<Measure, number | null>>;
}

/** The hour of the week for a restart. */
export interface BestHour {
  readonly weekday: number;
  readonly hour: number;
  readonly mean: number;
  readonly next: number;
  readonly command: string | undefined;
}

/** The steps since a time. Throws PROTOCOL_ERROR. */
export function stepsOf(series: JsonObject, since: number): Step[] {
  const { start, step } = series;
  if (typeof start !== "number" || typeof step !== "number" || !(step > 0)) throw notUnderstood();
  const values = (measure: Measure, which: "mean" | "high"): readonly unknown[] => {
    const plot = series[measure];
    const list = isObject(plot) ? plot[which] : undefined;
    if (!Array.isArray(list)) throw notUnderstood();
    return list;
  };
  const of = (which: "mean" | "high", at: number): Record<Measure, number | null> => ({
    players: numberOrNull(values("players", which)[at]),
    cpu: numberOrNull(values("cpu", which)[at]),
    memory: numberOrNull(values("memory", which)[at]),
  });
  return values("players", "mean")
    .map((_, at) => ({ at: start - step / 2 + at * step, mean: of("mean", at), high: of("high", at) }))
    .filter(({ at }) => at + step > since);
}

/** Undefined where there is not enough history to name one. Throws PROTOCOL_ERROR. */
export function bestHourOf({ best, remedy }: JsonObject): BestHour | undefined {
  if (best === null) return undefined;
  if (!isObject(best)) throw notUnderstood();
  const { weekday, hour, mean, next } = best;
  if (![weekday, hour, mean, next].every((one) => typeof one === "number")) throw notUnderstood();
  const command = isObject(remedy) && typeof remedy["command"] === "string" ? remedy["command"] : undefined;
  return { weekday: Number(weekday), hour: Number(hour), mean: Number(mean), next: Number(next), command };
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

/** PROTOCOL_ERROR: an answer of berth-web has another shape. */
export function notUnderstood(): BerthError {
  return new BerthError("PROTOCOL_ERROR", "the answer of berth-web is not understood; is it of this version?");
}
