/** `berth enable` and `berth disable`: whether systemd starts the servers of berths when the machine starts. */
import { type Command, Option } from "commander";
import { berthNames, mustBeBerth } from "../berths/berth-names.ts";
import { findBerth } from "../berths/berth-records.ts";
import { forBerths } from "../berths/for-berths.ts";
import { interruptible } from "../interruptible.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { servicesFor, unitOf } from "../services.ts";
import { start } from "./start.ts";

interface EnableOptions extends BrokerChoice {
  readonly json?: true;
  readonly now?: true;
}

/** What `--json` prints of one berth. */
interface Enabled {
  readonly unit: string;
  readonly enabled: boolean;
  /** The server that runs; null where the command started none. */
  readonly pid: number | null;
}

const enableHelp = `
systemd starts berth@NAME.service at every boot, with berths.target and berthd.socket, which are enabled as well.
A name may be a pattern: 'arena@*' is every berth whose name begins so.
Exit status: 0 enabled; 1 refused; 100 usage; 111 no broker, no systemd, or it is not allowed.

Examples:
  berth enable arena@bob
  berth enable --now worlds`;

const disableHelp = `
A server that runs goes on: berth stop ends it. A berth that is no longer configured can be disabled, too.
A name may be a pattern: 'arena@*' is every berth whose name begins so.
Exit status: 0 disabled; 100 usage; 111 no systemd, or it is not allowed.

Examples:
  berth disable arena@bob
  berth disable worlds && berth stop worlds`;

export function addEnable(program: Command): void {
  program
    .command("enable")
    .description("have the servers of berths start at every boot")
    .argument("<berth...>", "the berths")
    .addOption(new Option("--now", "start them now, too"))
    .addOption(socketOption())
    .addOption(timeoutOption("the broker, and for each server to start"))
    .addOption(jsonOption("the results"))
    .addHelpText("after", enableHelp)
    .action((names: string[], _options: EnableOptions, command: Command) => {
      const options = command.optsWithGlobals<EnableOptions>();
      return forAll(names, options, (name, signal) => enable(name, options, signal));
    });
}

export function addDisable(program: Command): void {
  program
    .command("disable")
    .description("have the servers of berths start no longer at every boot")
    .argument("<berth...>", "the berths")
    .addOption(jsonOption("the results"))
    .addHelpText("after", disableHelp)
    .action((names: string[], _options: EnableOptions, command: Command) =>
      forAll(names, command.optsWithGlobals<EnableOptions>(), disable),
    );
}

/** One after the other: systemd reads all of its units again each time. */
async function forAll(
  names: readonly string[],
  options: EnableOptions,
  act: (name: string, signal: AbortSignal) => Promise<Enabled>,
): Promise<void> {
  await interruptible(async (signal) => {
    const json = options.json === true;
    const meant = await berthNames(names, options);
    await forBerths(meant, (name) => act(name, signal), { describe, signal, json, atOnce: 1 });
  });
}

async function enable(name: string, options: EnableOptions, signal: AbortSignal): Promise<Enabled> {
  await findBerth(name, options);
  const unit = unitOf(name);
  const services = await servicesFor(name);
  await services.run("enable", ["berthd.socket", "berths.target", unit]);
  const pid = options.now ? (await start(name, options, signal)).pid : null;
  return { unit, enabled: true, pid };
}

async function disable(name: string): Promise<Enabled> {
  mustBeBerth(name);
  const unit = unitOf(name);
  await (await servicesFor(name)).run("disable", [unit]);
  return { unit, enabled: false, pid: null };
}

function describe({ unit, enabled, pid }: Enabled): string {
  const now = pid === null ? "" : `; runs as pid ${pid}`;
  return enabled ? `starts at every boot (${unit})${now}` : `starts no longer at boot (${unit})`;
}
