/** 30 days as one number a day. Pure. */
import { highest } from "./spark-path.ts";

const STEPS_A_DAY = 6;

/** The highest of each day's six means of four hours; null where nothing was measured. */
export function busiestByDay(month: readonly (number | null)[]): readonly (number | null)[] {
  const days = Math.ceil(month.length / STEPS_A_DAY);
  return Array.from({ length: days }, (_, day) => highest(month.slice(day * STEPS_A_DAY, (day + 1) * STEPS_A_DAY)));
}
