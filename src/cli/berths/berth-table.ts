/** The table of `berth ls`, and the live one of `npm start`. */
import { adviceOf, type ShownState, stateOf } from "../../berth-state.ts";
import { tenantUser } from "../../client/tenant-user.ts";
import { printable } from "../../printable.ts";
import { type Cell, renderTable, type Style, wrap } from "../print/table.ts";
import type { BerthRecord, DescriptorRecord } from "./berth-records.ts";

const titles = ["NAME", "STATE", "PID", "USER", "SOCKETS"];
/** A column before the sockets, if players are known of any berth. */
const PLAYERS = "PLAYERS";

/** Where there is no terminal, lines are as long as on the smallest usual one. */
export const TABLE_WIDTH = 80;
const INDENT = 2;

export const stateStyles: Readonly<Record<ShownState, Style>> = {
  vacant: "dim",
  occupied: "green",
  handover: "yellow",
  starting: "yellow",
  waiting: "yellow",
  outdated: "yellow",
  draining: "yellow",
  failed: "red",
  problem: "red",
};

/** A line of titles, one row for each berth, and a sentence for each that needs one. No line is longer than `room`. */
export function berthTable(berths: readonly BerthRecord[], isColoured: boolean, room: number = TABLE_WIDTH): string {
  const hasPlayers = berths.some(({ players }) => players);
  const shown = hasPlayers ? titles.toSpliced(-1, 0, PLAYERS) : titles;
  const heading: Cell[] = shown.map((text) => ({ text, style: "bold" }));
  const rows = berths.map((berth) =>
    hasPlayers ? row(berth).toSpliced(-1, 0, { text: playersOf(berth) }) : row(berth),
  );
  const table = renderTable([heading, ...rows], isColoured, room);
  return `${table}${berths.map((berth) => advice(berth, room)).join("")}`;
}

function advice(berth: BerthRecord, room: number): string {
  const sentence = adviceOf(berth);
  if (sentence === undefined) return "";
  const [first = "", ...others] = wrap(`${printable(berth.name)}: ${sentence}`, room - INDENT);
  return `${first}\n${others.map((line) => `${" ".repeat(INDENT)}${line}\n`).join("")}`;
}

function row(berth: BerthRecord): Cell[] {
  const { name, lease, descriptors } = berth;
  const state = stateOf(berth);
  return [
    { text: printable(name) },
    { text: state, style: stateStyles[state] },
    { text: lease ? String(lease.pid) : "-" },
    { text: lease ? printable(tenantUser(lease)) : "-" },
    { text: descriptors.map(describe).join(" ") },
  ];
}

/** `7/16`, or `7` where nobody knows how many can play. */
export function playersOf({ players }: BerthRecord): string {
  if (!players) return "-";
  return typeof players.max === "number" ? `${players.count}/${players.max}` : String(players.count);
}

function describe({ name, kind, address }: DescriptorRecord): string {
  return `${printable(name)}=${printable(address ?? kind)}`;
}
