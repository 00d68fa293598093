/** `berth show NAME`: everything that the broker reports about one berth. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { drainOf, outdatedOf, stateOf } from "../../berth-state.ts";
import { tenantUser, userName } from "../../client/tenant-user.ts";
import { printable, printableJson } from "../../printable.ts";
import {
  type BerthRecord,
  findBerth,
  type LeaseRecord,
  type StartRecord,
  type WakeRecord,
} from "../berths/berth-records.ts";
import { playersOf } from "../berths/berth-table.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { hasColours, print } from "../print/stdout.ts";
import { type Cell, renderTable } from "../print/table.ts";

interface ShowOptions extends BrokerChoice {
  readonly json?: true;
}

const help = `
Examples:
  berth show arena@bob
  berth show arena@bob --json | jq .lease.pid`;

export function addShow(program: Command): void {
  program
    .command("show")
    .description("show everything about one berth")
    .argument("<berth>", "its name")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("the berth"))
    .addHelpText("after", help)
    .action(async (name: string, _options: ShowOptions, command: Command) => {
      const options = command.optsWithGlobals<ShowOptions>();
      const berth = await findBerth(name, options);
      print(options.json ? `${printableJson(berth, 2)}\n` : describe(berth, hasColours()));
    });
}

function describe(berth: BerthRecord, isColoured: boolean): string {
  const { name, descriptors, range, root, lease, ready, status, outdated, start, problems, wait } = berth;
  const facts: [string, string][] = [["state", stateOf(berth)]];
  for (const { file, line, message, remedy } of problems ?? []) {
    facts.push(["problem", printable(`${file}:${line}: ${message}`)]);
    if (remedy) facts.push(["remedy", printable(remedy)]);
  }
  if (wait) facts.push(["waiting", printable(wait.message)]);
  if (berth.drain) facts.push(["draining", drainOf(berth, Date.now())]);
  if (lease) {
    facts.push(["tenant", tenantOf(lease)]);
    if (lease.since) facts.push(["since", timeOf(lease.since)]);
    if (lease.unit) facts.push(["unit", printable(lease.unit)]);
    facts.push(["ready", ready ? "yes" : "not said"], ["lease", printable(lease.id)]);
    if (status) facts.push(["status", printable(status)]);
    if (outdated || root?.newer) facts.push(["outdated", outdatedOf(berth)]);
  }
  if (berth.restarts) facts.push(["restarts", String(berth.restarts)]);
  if (berth.wake) facts.push(["woken", wokenText(berth.wake)]);
  if (berth.players) facts.push(["players", playersText(berth)]);
  if (start) facts.push(...factsOf(start));
  if (root) {
    const by = root.strategy ? `, by ${root.strategy}` : "";
    facts.push(["image", `${printable(root.images.join(" + "))}, ${root.state}${by}`]);
  }
  if (range) facts.push(["range", `${range.count} ids from ${range.base}`]);
  for (const { name, kind, address } of descriptors) {
    facts.push([kind, `${printable(name)}${address ? ` ${printable(address)}` : ""}`]);
  }
  const rows = facts.map(([label, text]): Cell[] => [{ text: `  ${label}`, style: "dim" }, { text }]);
  return renderTable([[{ text: printable(name), style: "bold" }], ...rows], isColoured);
}

/** `2026-01-31T12:00:00.000Z` of microseconds since 1970. */
function timeOf(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString();
}

/** `by a datagram at game, 2026-01-31T12:00:00.000Z`. */
function wokenText({ at, cause, socket }: WakeRecord): string {
  return `by a ${cause}${socket ? ` at ${printable(socket)}` : ""}, ${timeOf(at)}`;
}

/** `7/16, map q3dm17, "Arena", as of 2026-01-31T12:00:00.000Z`. */
function playersText(berth: BerthRecord): string {
  const { map, name, at } = berth.players ?? { at: 0 };
  const what = [playersOf(berth), ...(map ? [`map ${printable(map)}`] : []), ...(name ? [`"${printable(name)}"`] : [])];
  return `${what.join(", ")}, as of ${timeOf(at)}`;
}

function factsOf({ state, failures, reason, next }: StartRecord): [string, string][] {
  const facts: [string, string][] = [["start", `on demand, ${state}`]];
  if (failures > 0) {
    const times = failures === 1 ? "once" : `${failures} times`;
    facts.push(["failed", `${times}${reason ? `; last reason: ${printable(reason)}` : ""}`]);
  }
  if (next) facts.push(["next try", timeOf(next)]);
  return facts;
}

function tenantOf(lease: LeaseRecord): string {
  return `pid ${lease.pid}${programOf(lease.pid)}, runs as ${printable(tenantUser(lease))}, took it as ${printable(userName(lease.uid))}`;
}

/** The program that has the pid now (proc(5), comm). Empty if it has exited or is hidden from the caller. */
function programOf(pid: number): string {
  try {
    return ` (${printable(readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd())})`;
  } catch {
    return "";
  }
}
