/** The table of `berth ls`, and the live one of `npm start`. */
import { readFileSync } from "node:fs";
import { native } from "../native.ts";
import { printable } from "../printable.ts";
import type { BerthRecord, DescriptorRecord, LeaseRecord } from "./berth-records.ts";
import { type Cell, renderTable, type Style } from "./table.ts";

const titles = ["NAME", "STATE", "PID", "USER", "SOCKETS"];

const stateStyles: Readonly<Record<BerthRecord["state"], Style>> = {
  vacant: "dim",
  occupied: "green",
  handover: "yellow",
};

/** One line for each berth, under a line of titles. */
export function berthTable(berths: readonly BerthRecord[], isColoured: boolean): string {
  const heading: Cell[] = titles.map((text) => ({ text, style: "bold" }));
  return renderTable([heading, ...berths.map(row)], isColoured);
}

/** What people read as a berth's state: a problem before all else. Nobody gets a vacant berth that is waiting. */
export function stateOf({ state, problems, wait }: BerthRecord): string {
  if (problems && problems.length > 0) return "problem";
  return wait ? "waiting" : state;
}

function row(berth: BerthRecord): Cell[] {
  const { name, state, lease, descriptors } = berth;
  const shown = stateOf(berth);
  return [
    { text: printable(name) },
    { text: shown, style: shown === state ? stateStyles[state] : shown === "problem" ? "red" : "yellow" },
    { text: lease ? String(lease.pid) : "-" },
    { text: lease ? userName(uidOf(lease)) : "-" },
    { text: descriptors.map(describe).join(" ") },
  ];
}

function describe({ name, kind, address }: DescriptorRecord): string {
  return `${printable(name)}=${printable(address ?? kind)}`;
}

/**
 * Whom the tenant runs as now: a launcher takes the berth with the privilege that it then drops (proc(5) status). Where
 * that cannot be seen, whom it was when it took it.
 */
export function uidOf({ pid, uid }: LeaseRecord): number {
  try {
    const effective = /^Uid:\t\d+\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return effective === undefined ? uid : Number(effective);
  } catch {
    return uid;
  }
}

/** The user's name where the system knows one, else the id. */
export function userName(uid: number): string {
  const entry = native.passwd(uid);
  return typeof entry === "object" ? printable(entry.name) : String(uid);
}
