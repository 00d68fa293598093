/** `berth-fleet apply`, `place`, `rm` and `ls`. Each returns what it prints. */
import { parse as parseToml } from "smol-toml";
import { Fault } from "../fault.ts";
import { Fleet, type Outcome } from "../fleet/fleet.ts";
import { type BerthSet, berthSet } from "../model/berth-set.ts";
import { commonFlags, openFleet, type Printed, parse, readText } from "./common.ts";
import { applyUsage, placeUsage, rmUsage } from "./usage.ts";

export async function applyCommand(args: readonly string[]): Promise<Printed | string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return applyUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "apply needs a file; see berth-fleet apply --help");
  const sets = positionals.map(readSet);
  return await withFleet(values, async (fleet) => {
    const outcomes: Outcome[] = [];
    for (const set of sets) outcomes.push(...(await fleet.apply(set)));
    return printOutcomes(outcomes, values.json);
  });
}

export async function placeCommand(args: readonly string[]): Promise<Printed | string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return placeUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "place needs a set; see berth-fleet ls sets");
  return await withFleet(values, async (fleet) => {
    const outcomes: Outcome[] = [];
    for (const name of positionals) outcomes.push(...(await fleet.place(name)));
    return printOutcomes(outcomes, values.json);
  });
}

export async function rmCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return rmUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "rm needs a set; see berth-fleet ls sets");
  return await withFleet(values, async (fleet) => {
    const removed = [];
    for (const name of positionals) removed.push(...(await fleet.remove(name)));
    if (values.json) return json(removed);
    return removed.map(({ berth, host }) => `${berth}: removed from ${host}\n`).join("");
  });
}

function printOutcomes(outcomes: readonly Outcome[], asJson: boolean | undefined): Printed {
  const refused = outcomes.some(({ explanation }) => explanation.host === undefined);
  if (asJson) return { text: json(outcomes.map(({ berth, explanation }) => ({ berth, ...explanation }))), refused };
  const text = outcomes.map(({ berth, explanation: { host, fetches = [], others } }) => {
    const head = host === undefined ? `${berth}: no host can have it\n` : `${berth}: on ${host}\n`;
    const none =
      host === undefined && others.length === 0 ? "  there is no host: start berth-fleet agent on one\n" : "";
    const lines = [...fetches, ...others.map((other) => `not ${other.host}: ${other.why}`)];
    return head + none + lines.map((line) => `  ${line}\n`).join("");
  });
  return { text: text.join(""), refused };
}

async function withFleet<T>(values: Parameters<typeof openFleet>[0], action: (fleet: Fleet) => Promise<T>): Promise<T> {
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  return await action(new Fleet(etcd, keys));
}

function readSet(path: string): BerthSet {
  const text = readText(path);
  let value: unknown;
  try {
    value = parseToml(text);
  } catch (error) {
    throw new Fault("INVALID_RECORD", `${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  return berthSet(value, path);
}

function json(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
