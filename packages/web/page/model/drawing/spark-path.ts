/** The path of a sparkline. Pure. */

/**
 * `M0 10L5 4…` in a box of `width` × `height`, where `top` is as high as the box. Null breaks the line.
 * With `closed`, each piece is closed along the bottom, to be filled.
 */
export function sparkPath(
  values: readonly (number | null)[],
  top: number,
  width: number,
  height: number,
  closed: boolean = false,
): string {
  const last = Math.max(values.length - 1, 1);
  const x = (at: number): number => round((at / last) * width);
  const y = (value: number): number => round(height - Math.min(1, Math.max(0, value / Math.max(top, 1e-9))) * height);
  return pieces(values)
    .map(({ from, to }) => {
      const points = values.slice(from, to).map((value, at) => `${x(from + at)} ${y(value ?? 0)}`);
      const line = `M${points.join("L")}`;
      return closed ? `${line}L${x(to - 1)} ${height}L${x(from)} ${height}z` : line;
    })
    .join("");
}

/** Runs of numbers between nulls. */
function pieces(values: readonly (number | null)[]): { readonly from: number; readonly to: number }[] {
  const found: { from: number; to: number }[] = [];
  values.forEach((value, at) => {
    if (value === null) return;
    const open = found.at(-1);
    if (open?.to === at) open.to = at + 1;
    else found.push({ from: at, to: at + 1 });
  });
  return found;
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}

/** The highest value; null where there is none. */
export function highest(values: readonly (number | null)[]): number | null {
  const numbers = values.filter((value) => value !== null);
  return numbers.length === 0 ? null : Math.max(...numbers);
}
