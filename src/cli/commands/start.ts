/** `berth start`: starts the servers of berths, under systemd where it runs, and waits until they have them. */
import type { Command } from "commander";
import { printable } from "../../printable.ts";
import { berthNames } from "../berths/berth-names.ts";
import { findBerth } from "../berths/berth-records.ts";
import { forBerths } from "../berths/for-berths.ts";
import { interruptible } from "../interruptible.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { hasSystemd, startHere } from "../own-start.ts";
import { servicesFor, unitOf } from "../services.ts";
import { awaitServer, mustBeSound, type Started } from "../started.ts";

interface StartOptions extends BrokerChoice {
  readonly json?: true;
}

const help = `
systemd starts berth@NAME.service and restarts the server if it crashes. Where systemd does not run, the server gets a
session and a log of its own, and nothing restarts it. To run a server in the terminal: berth run NAME.
A name may be a pattern: 'arena@*' is every berth whose name begins so.
Exit status: 0 it runs; 1 refused; 100 usage; 111 no broker, no unit, or the server did not start.

Examples:
  berth start arena@bob
  berth start --timeout 60 worlds
  berth enable worlds && berth start worlds`;

export function addStart(program: Command): void {
  program
    .command("start")
    .description("start the servers of berths, under systemd where it runs")
    .argument("<berth...>", "the berths whose servers are to run")
    .addOption(socketOption())
    .addOption(timeoutOption("the broker, and for each server"))
    .addOption(jsonOption("the results"))
    .addHelpText("after", help)
    .action((names: string[], _options: StartOptions, command: Command) =>
      interruptible(async (signal) => {
        const options = command.optsWithGlobals<StartOptions>();
        const json = options.json === true;
        await forBerths(await berthNames(names, options), (name) => start(name, options, signal), {
          describe,
          signal,
          json,
        });
      }),
    );
}

/** Starts the server of one berth, unless it runs. */
export async function start(name: string, options: BrokerChoice, signal: AbortSignal): Promise<Started> {
  const berth = await findBerth(name, options);
  mustBeSound(berth);
  if (berth.lease) return { pid: berth.lease.pid, unit: berth.lease.unit ?? null, already: true };
  if (!hasSystemd()) return await startHere(name, options, signal);
  const services = await servicesFor(name);
  await services.run("start", [unitOf(name)]);
  return await awaitServer(name, services, options, signal);
}

function describe({ pid, unit, already }: Started): string {
  return `${already ? "runs already, as" : "started"} pid ${pid}${unit ? ` (${printable(unit)})` : ""}`;
}
