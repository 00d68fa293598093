/** `berth drain`: has the broker stop the servers of berths once nobody plays, or when the time is up. */
import { type Command, Option } from "commander";
import { drainOf } from "../../berth-state.ts";
import { printable } from "../../printable.ts";
import { berthNames } from "../berths/berth-names.ts";
import type { CancelRecord } from "../berths/berth-records.ts";
import {
  cancelDrain,
  type DrainChoice,
  type Drained,
  deadlineOption,
  drain,
  whenEmptyOption,
} from "../berths/drain-calls.ts";
import { forBerths } from "../berths/for-berths.ts";
import { watchDrains } from "../berths/watch-drains.ts";
import { interruptible } from "../interruptible.ts";
import { jsonOption, socketOption, timeoutOption } from "../options.ts";

interface DrainOptions extends DrainChoice {
  readonly cancel?: true;
  readonly watch?: true;
  readonly json?: true;
}

const help = `
The server goes on until nobody plays, or until the deadline. Then the broker stops it, as berth stop does. The broker
knows who plays from the server (X_BERTHD_PLAYERS, or its SDK), with server.asleep from its answer to the doorman, from
an observer, or from the traffic: one minute without any.
With server.drain-signal or server.drain-command the server is told, and can tell its players.
A berth that drains already keeps its deadline, unless you give another. The broker goes on at Ctrl-C, and so does the
next broker after a restart.
A name may be a pattern: 'arena@*' is every berth whose name begins so.
Exit status: 0 draining, stopped, or nobody had it; 1 refused, or cancelled while watched; 100 usage; 111 no broker.

Examples:
  berth drain arena@bob
  berth drain --deadline 2h --watch worlds
  berth drain --when-empty 'arena@*'
  berth drain --cancel arena@bob`;

export function addDrain(program: Command): void {
  program
    .command("drain")
    .description("stop the servers of berths once nobody plays, or at a deadline")
    .argument("<berth...>", "the berths whose servers are to end")
    .addOption(deadlineOption("each server is stopped"))
    .addOption(whenEmptyOption())
    .addOption(new Option("--cancel", "let the servers go on").conflicts(["deadline", "whenEmpty", "watch"]))
    .option("--watch", "show what is left, until the servers have ended")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("the results"))
    .addHelpText("after", help)
    .action((words: string[], _options: DrainOptions, command: Command) =>
      interruptible(async (signal) => {
        const options = command.optsWithGlobals<DrainOptions>();
        const json = options.json === true;
        const names = await berthNames(words, options);
        if (options.cancel)
          return await forBerths(names, (name) => cancelDrain(name, options), {
            describe: describeCancel,
            signal,
            json,
          });
        const begun = new Map<string, Drained>();
        const act = async (name: string): Promise<Drained> => {
          const drained = await drain(name, options);
          begun.set(name, drained);
          return drained;
        };
        const watches = options.watch === true;
        // A watch prints what follows, in JSON a line for each event.
        await forBerths(names, act, { describe, signal, json: json && !watches, quiet: json && watches });
        if (watches) await watchDrains(leasesOf(begun), { ...options, json }, signal);
      }),
    );
}

/** The leases that end with the drains. */
function leasesOf(begun: ReadonlyMap<string, Drained>): Map<string, string> {
  return new Map([...begun].flatMap(([name, { drain, lease }]) => (drain && lease ? [[name, lease.id]] : [])));
}

function describe({ drain, unit, lease, players }: Drained): string {
  if (drain) return drainOf({ drain, players }, Date.now());
  return unit ? `stopped ${printable(unit)}` : lease ? `stopped pid ${lease.pid}` : "nobody has it";
}

function describeCancel({ drain }: CancelRecord): string {
  return drain ? "no longer draining; its server goes on" : "was not draining";
}
