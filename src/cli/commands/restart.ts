/** `berth restart`: stops the servers of berths and starts them again on the same sockets. */
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { berthNames } from "../berths/berth-names.ts";
import { findBerth } from "../berths/berth-records.ts";
import { forBerths } from "../berths/for-berths.ts";
import { interruptible } from "../interruptible.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { hasSystemd, startHere } from "../own-start.ts";
import { servicesFor, unitOf } from "../services.ts";
import { awaitServer, mustBeSound, type Started } from "../started.ts";
import { stop } from "./stop.ts";

interface RestartOptions extends BrokerChoice {
  readonly json?: true;
}

const help = `
systemd restarts berth@NAME.service; a server that does not run is started. The sockets stay open: players who connect
meanwhile wait. A server that systemd did not start is left alone: stop it with berth stop, and start it as before.
Where systemd does not run, the server is stopped as by berth stop, and then started as by berth start.
A name may be a pattern: 'arena@*' is every berth whose name begins so.
Exit status: 0 it runs; 1 refused; 100 usage; 111 no broker, no unit, or the server did not start.

Examples:
  berth restart arena@bob
  berth reload && berth restart --timeout 60 worlds`;

export function addRestart(program: Command): void {
  program
    .command("restart")
    .description("stop the servers of berths, and start them again on the same sockets")
    .argument("<berth...>", "the berths whose servers are to be restarted")
    .addOption(socketOption())
    .addOption(timeoutOption("the broker, and for each server to start"))
    .addOption(jsonOption("the results"))
    .addHelpText("after", help)
    .action((names: string[], _options: RestartOptions, command: Command) =>
      interruptible(async (signal) => {
        const options = command.optsWithGlobals<RestartOptions>();
        const json = options.json === true;
        await forBerths(await berthNames(names, options), (name) => restart(name, options, signal), {
          describe,
          signal,
          json,
        });
      }),
    );
}

async function restart(name: string, options: BrokerChoice, signal: AbortSignal): Promise<Started> {
  const berth = await findBerth(name, options);
  mustBeSound(berth);
  const { lease } = berth;
  if (!hasSystemd()) {
    if (lease) await stop(name, options, signal);
    return await startHere(name, options, signal, lease?.pid);
  }
  const unit = unitOf(name);
  const services = await servicesFor(name);
  if (lease && lease.unit !== unit && lease.pid !== (await services.mainOf(unit))) {
    const message = `pid ${lease.pid} of berth ${name} is not ${unit}: berth stop ${name}, then start it as before`;
    throw new BerthError("SYSTEM_ERROR", message);
  }
  await services.run("restart", [unit]);
  return await awaitServer(name, services, options, signal, lease?.pid);
}

function describe({ pid, unit }: Started): string {
  return `started pid ${pid}${unit ? ` (${printable(unit)})` : ""}`;
}
