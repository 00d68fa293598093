/**
 * One plot of lines as an SVG. It needs no library: lines, marks and words are all that there is. It has its own
 * background, so it can be read on a light and on a dark page, and each line has a mark of its own, so it can be read
 * without colours. The same input gives the same bytes.
 */
import { axisOf, written } from "./ticks.mjs";

const WIDTH = 600;
const BOX = { left: 86, right: 34, bottom: 52 };
const HEIGHT_OF_LINES = 240;
const CHARACTER = 7;
const LEGEND_GAP = 34;

const marks = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="4"/>`,
  (x, y) => `<rect x="${near(x - 3.5)}" y="${near(y - 3.5)}" width="7" height="7"/>`,
  (x, y) => `<path d="M${x} ${near(y - 5)}l5 9h-10z"/>`,
  (x, y) => `<path d="M${x} ${near(y - 5)}l5 5l-5 5l-5 -5z"/>`,
  (x, y) => `<path d="M${x} ${near(y + 5)}l5 -9h-10z"/>`,
];

/** Colours that differ in lightness too: of lines and words on white, and on nearly black. */
const style = `text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:15px}.b{fill:#fff}
.g{stroke:#d8dee4}.a{stroke:#57606a}polyline{fill:none;stroke-width:2}
.c0{stroke:#0550ae;fill:#0550ae}.c1{stroke:#bc4c00;fill:#bc4c00}.c2{stroke:#116329;fill:#116329}
.c3{stroke:#8250df;fill:#8250df}.c4{stroke:#57606a;fill:#57606a}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#161b22}.g{stroke:#30363d}.a{stroke:#8b949e}
.c0{stroke:#79c0ff;fill:#79c0ff}.c1{stroke:#ffa657;fill:#ffa657}.c2{stroke:#56d364;fill:#56d364}
.c3{stroke:#d2a8ff;fill:#d2a8ff}.c4{stroke:#adbac7;fill:#adbac7}}`;

const near = (number) => Number(number.toFixed(1));
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

/** The names of the lines with their marks, in rows as wide as the plot: what is drawn, and how many rows. */
function legendOf(series, top) {
  let [x, row] = [BOX.left, 0];
  const parts = series.map(({ name }, index) => {
    const width = LEGEND_GAP + name.length * CHARACTER;
    if (x > BOX.left && x + width > WIDTH - BOX.right) [x, row] = [BOX.left, row + 1];
    const y = top + row * 20;
    const sample = `<line x1="${x}" x2="${x + 20}" y1="${y}" y2="${y}" stroke-width="2"/>${marks[index](x + 10, y)}`;
    const part = `<g class="c${index}">${sample}</g><text x="${x + 26}" y="${y + 4}">${escaped(name)}</text>`;
    x += width + 10;
    return part;
  });
  return { parts, rows: row + 1 };
}

/**
 * `title` in words; `x` and `y` with a `label` that has the unit and, where values grow by powers, `log`; `series` of
 * at most five lines, each with a `name` and `points` of [x, y].
 */
export function plot({ title, x, y, series }) {
  if (series.length > marks.length) throw new Error(`a plot shows at most ${marks.length} lines`);
  const legend = legendOf(series, 50);
  const top = 50 + legend.rows * 20;
  const [bottom, right] = [top + HEIGHT_OF_LINES, WIDTH - BOX.right];
  const values = (index) => series.flatMap(({ points }) => points.map((point) => point[index]));
  const [across, up] = [axisOf(values(0), x.log, true), axisOf(values(1), y.log)];
  const atX = (value) => near(BOX.left + across.at(value) * (right - BOX.left));
  const atY = (value) => near(bottom - up.at(value) * (bottom - top));
  const lines = series.map(({ points }, index) => {
    const places = points.map(([one, other]) => [atX(one), atY(other)]);
    const line = `<polyline points="${places.map((place) => place.join(",")).join(" ")}"/>`;
    const shown = places.length > 40 ? [] : places;
    return `<g class="c${index}">${line}${shown.map((place) => marks[index](...place)).join("")}</g>`;
  });
  const words = series.map(({ name, points }) => `${name}: ${points.length} points`).join("; ");
  const height = bottom + BOX.bottom;
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">`,
    `<title>${escaped(title)}</title>`,
    `<desc>${escaped(`${y.label} over ${x.label}. ${words}`)}</desc>`,
    `<style>${style}</style>`,
    `<rect class="b" width="100%" height="100%" rx="6"/>`,
    `<text class="t" x="${BOX.left}" y="26">${escaped(title)}</text>`,
    ...legend.parts,
    ...up.ticks.flatMap((tick) => [
      `<line class="g" x1="${BOX.left}" x2="${right}" y1="${atY(tick)}" y2="${atY(tick)}"/>`,
      `<text x="${BOX.left - 8}" y="${near(atY(tick) + 4)}" text-anchor="end">${written(tick)}</text>`,
    ]),
    ...across.ticks.flatMap((tick) => [
      `<line class="a" x1="${atX(tick)}" x2="${atX(tick)}" y1="${bottom}" y2="${bottom + 5}"/>`,
      `<text x="${atX(tick)}" y="${bottom + 20}" text-anchor="middle">${written(tick)}</text>`,
    ]),
    `<line class="a" x1="${BOX.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    `<text x="${(BOX.left + right) / 2}" y="${bottom + 42}" text-anchor="middle">${escaped(x.label)}</text>`,
    `<text transform="translate(16 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(y.label)}</text>`,
    ...lines,
    "</svg>",
  ].join("\n")}\n`;
}
