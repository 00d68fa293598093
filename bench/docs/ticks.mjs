/** Where the marks of an axis are, and where a value is on it. Pure. */

/** About so many marks from 0 to `most`, at 1, 2 or 5 times a power of ten. */
function evenTicks(most, count = 5) {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough * 0.999);
  const last = Math.ceil(most / step - 1e-9);
  return Array.from({ length: last + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** Each power of ten from at most `least` to at least `most`. */
function powers(least, most) {
  const first = Math.floor(Math.log10(least) + 1e-9);
  const last = Math.max(Math.ceil(Math.log10(most) - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => Number((10 ** (first + index)).toPrecision(12)));
}

/**
 * An axis for these values: its `ticks`, and `at(value)`, from 0 at its start to 1 at its end. A linear one starts at 0
 * and ends with a tick, or where `isTight` with the largest value.
 */
export function axisOf(values, isLogarithmic, isTight) {
  const most = Math.max(...values);
  if (!(most > 0)) throw new Error("an axis needs a value above 0");
  const all = isLogarithmic ? powers(Math.min(...values), most) : evenTicks(most);
  const ticks = isTight && !isLogarithmic ? all.filter((tick) => tick <= most) : all;
  const scale = isLogarithmic ? Math.log10 : (value) => value;
  const [start, end] = [scale(ticks[0]), isTight && !isLogarithmic ? most : scale(ticks.at(-1))];
  return { ticks, at: (value) => (scale(value) - start) / (end - start) };
}

/** A number for people: 10,000 and 0.05. */
export function written(value) {
  const [whole, fraction] = String(value).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}
