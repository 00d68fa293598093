/** `berth stop`: has the broker end the servers of berths, and waits until they have ended. */
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import type { VarlinkClient } from "../../varlink/client.ts";
import { connectUntil, deadlineOf, secondsOf } from "../ask.ts";
import { berthNames } from "../berths/berth-names.ts";
import { readStopped, type StoppedRecord } from "../berths/berth-records.ts";
import { forBerths } from "../berths/for-berths.ts";
import { interruptible } from "../interruptible.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";

interface StopOptions extends BrokerChoice {
  readonly json?: true;
}

/** How long the command waits for a server, in seconds. The broker waits as long as the berth says. */
const STOP_SECONDS = 120;

const help = `
Every process of the server gets the berth's server.stop-signal (SIGTERM), and SIGKILL after server.stop-timeout (10 s).
A server that is a unit of systemd is stopped by systemd, with the settings of that unit; it is not started again.
The sockets stay open: what players send waits for the next server. With start = "on-demand" the next packet starts
the server again.
The command waits until the server has ended. At Ctrl-C, or after --timeout, the broker goes on without it.
A name may be a pattern: 'arena@*' is every berth whose name begins so.
Exit status: 0 stopped, or nobody had it; 1 refused; 100 usage; 111 no broker, or not stopped in time.

Examples:
  berth stop arena@bob
  berth stop 'arena@*'
  berth stop --timeout 600 worlds
  berth stop --json arena@alice arena@bob | jq -r '.[] | select(.killed).berth'`;

export function addStop(program: Command): void {
  program
    .command("stop")
    .description("end the servers of berths; the sockets stay open")
    .argument("<berth...>", "the berths whose servers are to end")
    .addOption(socketOption())
    .addOption(timeoutOption("each server", STOP_SECONDS))
    .addOption(jsonOption("the results"))
    .addHelpText("after", help)
    .action((names: string[], _options: StopOptions, command: Command) =>
      interruptible(async (signal) => {
        const options = command.optsWithGlobals<StopOptions>();
        await forBerths(await berthNames(names, options), (name) => stop(name, options, signal), {
          describe,
          signal,
          json: options.json === true,
        });
        if (signal.aborted)
          process.stderr.write("berth: interrupted; the broker goes on stopping what it began to stop\n");
      }),
    );
}

/** Stops the server of one berth. Throws ABORTED if it has not ended in time. */
export async function stop(berth: string, options: BrokerChoice, interrupt: AbortSignal): Promise<StoppedRecord> {
  const choice = { timeout: STOP_SECONDS, ...options };
  const late = deadlineOf(choice);
  const { client } = await connectUntil(choice, AbortSignal.any([interrupt, late]));
  using _ = client;
  return await stopOn(client, berth, choice, interrupt, late);
}

/** As {@link stop}, on a connection. The broker handles its next call when the server has ended, or cannot be ended. */
export async function stopOn(
  client: VarlinkClient,
  berth: string,
  choice: BrokerChoice,
  interrupt: AbortSignal,
  late: AbortSignal,
): Promise<StoppedRecord> {
  try {
    using reply = await client.call("io.berthd.Broker.Stop", { berth }, { signal: AbortSignal.any([interrupt, late]) });
    return readStopped(reply.parameters);
  } catch (error) {
    if (!late.aborted) throw error;
    const message = `berth ${berth} has not stopped within ${secondsOf(choice)} s, and the broker goes on; to wait again: berth stop ${berth}`;
    throw new BerthError("ABORTED", message, { cause: error });
  }
}

function describe({ lease, unit, killed, again }: StoppedRecord): string {
  const where = unit ? ` (${printable(unit)})` : "";
  const how = killed ? "; it did not end in time and got SIGKILL" : "";
  const what = lease ? `stopped pid ${lease.pid}${where}${how}` : unit ? `stopped ${printable(unit)}` : "nobody has it";
  return again ? `${what}; the next packet starts it (server.start = "on-demand")` : what;
}
