/** The tables of `berth ls` in the documentation look as the program prints them where there is no terminal. */
import { expect, it } from "vitest";
import { TABLE_WIDTH } from "../../src/cli/berths/berth-table.ts";
import { renderTable } from "../../src/cli/print/table.ts";
import { pages, read } from "./markdown.ts";

/** Each table of a page: its lines from the titles on. */
function tablesOf(text: string): string[][] {
  const lines = text.split("\n");
  return lines.flatMap((line, start) => {
    if (!/^NAME +STATE +PID +USER +SOCKETS$/.test(line)) return [];
    const length = lines.slice(start).findIndex((one) => one === "" || one.startsWith("```"));
    return [lines.slice(start, start + length)];
  });
}

/** The rows of a table that was printed. A row without a name goes on with the sockets of the row before. */
function rowsOf(lines: readonly string[]): string[][] {
  const rows: string[][] = [];
  for (const line of lines) {
    const last = rows.at(-1);
    if (line.startsWith(" ") && last !== undefined) last.push(`${last.pop()} ${line.trim()}`);
    else rows.push(line.split(/ {2,}/));
  }
  return rows;
}

const tables = pages.flatMap((page) => tablesOf(read(page)).map((lines) => [page, lines] as const));

it("there are some", () => expect(tables.length).toBeGreaterThan(2));

it.each(tables)("%s", (_, lines) => {
  const cells = rowsOf(lines).map((row) => row.map((text) => ({ text })));
  expect(`${lines.join("\n")}\n`).toBe(renderTable(cells, false, TABLE_WIDTH));
});
