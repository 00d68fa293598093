/** A sparkline of players. Its scale is 0 to the slots, the same in each row: a full server looks full. */
import type { JSX } from "preact";
import { highest, sparkPath } from "../model/drawing/spark-path.ts";
import { memo } from "./memo.ts";

const WIDTH = 72;
const HEIGHT = 22;

export interface SparkProps {
  readonly values: readonly (number | null)[];
  /** Null: as high as the highest value. */
  readonly top: number | null;
  /** How long it covers: "24 h". */
  readonly span: string;
}

export const Spark = memo(({ values, top, span }: SparkProps): JSX.Element => {
  const most = highest(values);
  const scale = top ?? Math.max(most ?? 1, 1);
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={
        most === null ? `Players in ${span}: not known` : `Players in ${span}: at the most ${Math.round(most)}`
      }
    >
      <path class="under" d={sparkPath(values, scale, WIDTH, HEIGHT, true)} />
      <path class="line" d={sparkPath(values, scale, WIDTH, HEIGHT)} />
    </svg>
  );
});
