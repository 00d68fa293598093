/** Columns for people: as wide as their longest text, two spaces apart. Texts that are too long go on below. Pure. */
import { createRequire } from "node:module";

// Not imported: Node 22 reads every export of node:util then, one of which opens standard error and makes it
// non-blocking for whatever `berth run` becomes (test/cli/run.test.ts).
const { styleText }: typeof import("node:util") = createRequire(import.meta.url)("node:util");

export type Style = "bold" | "dim" | "green" | "yellow" | "red";

export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

const GAP = 2;

/**
 * The lines of a table, each ended by a newline. Texts must already be printable. No line is longer than `room`: the
 * widest columns get narrower, and their texts go on in the next line.
 */
export function renderTable(rows: readonly (readonly Cell[])[], isColoured: boolean, room: number = Infinity): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach(({ text }, column) => {
      widths[column] = Math.max(widths[column] ?? 0, width(text));
    });
  }
  narrow(widths, room);
  return rows.map((row) => renderRow(row, widths, isColoured)).join("");
}

/** Takes from the widest column what is too much. Each keeps one character. */
function narrow(widths: number[], room: number): void {
  const total = (): number => widths.reduce((sum, one) => sum + one, GAP * (widths.length - 1));
  for (let excess = total() - room; excess > 0; excess--) {
    const widest = Math.max(...widths);
    if (widest <= 1) return;
    widths[widths.lastIndexOf(widest)] = widest - 1;
  }
}

function renderRow(row: readonly Cell[], widths: readonly number[], isColoured: boolean): string {
  const columns = row.map(({ text }, column) => wrap(text, widths[column] ?? 1));
  const height = Math.max(...columns.map((lines) => lines.length));
  let rendered = "";
  for (let line = 0; line < height; line++) {
    const pieces = row.map(({ style }, column) => {
      const text = columns[column]?.[line] ?? "";
      const gap = column === row.length - 1 ? "" : " ".repeat((widths[column] ?? 0) - width(text) + GAP);
      return `${isColoured && style !== undefined && text !== "" ? paint(style, text) : text}${gap}`;
    });
    rendered += `${pieces.join("").trimEnd()}\n`;
  }
  return rendered;
}

/** The lines of a text that are at most `room` long: broken at blanks, and a longer word anywhere. */
export function wrap(text: string, room: number): string[] {
  if (width(text) <= room) return [text];
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const joined = line === "" ? word : `${line} ${word}`;
    if (width(joined) <= room) {
      line = joined;
      continue;
    }
    if (line !== "") lines.push(line);
    const letters = [...word];
    while (letters.length > room) lines.push(letters.splice(0, room).join(""));
    line = letters.join("");
  }
  return line === "" ? lines : [...lines, line];
}

/** The caller knows whether there is a terminal; newer Nodes would look at standard output again. */
const paint = (style: Style, text: string): string => styleText(style, text, { validateStream: false });

function width(text: string): number {
  return [...text].length;
}
