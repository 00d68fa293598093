/** The scales of plots. Pure. */

/** The next round number that is not below `value`: 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten. */
export function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((one) => one * power >= value) ?? 10;
  return step * power;
}
