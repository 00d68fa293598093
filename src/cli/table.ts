/** Columns for people: as wide as what stands in them, two spaces apart, the last one as it comes. Pure. */
import { createRequire } from "node:module";

// Not imported: Node 22 reads every export of node:util then, one of which opens standard error and makes it
// non-blocking for whatever `berth run` becomes (test/cli/run.test.ts).
const { styleText }: typeof import("node:util") = createRequire(import.meta.url)("node:util");

export type Style = "bold" | "dim" | "green" | "yellow" | "red";

export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

/** The lines of a table, each ended by a newline. Texts must already be printable. */
export function renderTable(rows: readonly (readonly Cell[])[], isColoured: boolean): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach(({ text }, column) => {
      widths[column] = Math.max(widths[column] ?? 0, width(text));
    });
  }
  return rows.map((row) => `${renderRow(row, widths, isColoured)}\n`).join("");
}

function renderRow(row: readonly Cell[], widths: readonly number[], isColoured: boolean): string {
  return row
    .map(({ text, style }, column) => {
      const gap = column === row.length - 1 ? "" : " ".repeat((widths[column] ?? 0) - width(text) + 2);
      return `${isColoured && style !== undefined ? paint(style, text) : text}${gap}`;
    })
    .join("")
    .trimEnd();
}

/** The caller knows whether there is a terminal; newer Nodes would look at standard output again. */
const paint = (style: Style, text: string): string => styleText(style, text, { validateStream: false });

function width(text: string): number {
  return [...text].length;
}
