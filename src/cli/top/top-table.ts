/** The table of `berth top`. Pure. */
import { printable } from "../../printable.ts";
import { stateStyles } from "../berths/berth-table.ts";
import { type Cell, renderTable } from "../print/table.ts";
import type { Row } from "./sample.ts";

const titles = ["NAME", "STATE", "PID", "CPU%", "MEM", "CONNS", "BACKLOG", "QUEUE", "DROPS"];

/** A line of titles and one row for each berth, those that work most first. */
export function topTable(rows: readonly Row[], isColoured: boolean, room: number): string {
  const sorted = [...rows].sort((a, b) => (b.cpu ?? -1) - (a.cpu ?? -1) || a.name.localeCompare(b.name));
  return renderTable([titles.map((text): Cell => ({ text, style: "bold" })), ...sorted.map(cells)], isColoured, room);
}

function cells({ name, state, pid, cpu, memory, connections, backlog, queue, drops }: Row): Cell[] {
  return [
    { text: printable(name) },
    { text: state, style: stateStyles[state] },
    { text: pid === null ? "-" : String(pid) },
    { text: cpu === null ? "-" : (100 * cpu).toFixed(cpu < 0.1 ? 1 : 0) },
    { text: memory === null ? "-" : bytes(memory) },
    { text: String(connections) },
    { text: String(backlog) },
    { text: bytes(queue) },
    { text: String(drops), ...(drops > 0 && { style: "red" as const }) },
  ];
}

/** `0`, `900`, `1.2K`, `34M`. */
function bytes(count: number): string {
  let value = count;
  for (const unit of ["", "K", "M", "G"]) {
    if (value < 1000 || unit === "G")
      return `${unit === "" || value >= 10 ? Math.round(value) : value.toFixed(1)}${unit}`;
    value /= 1024;
  }
  return String(count);
}
