/** `berth watch`: one line for everything that happens to the berths. */
import type { Command } from "commander";
import { drainOf } from "../../berth-state.ts";
import { BerthError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import type { VarlinkClient } from "../../varlink/client.ts";
import { connectUntil, deadlineOf, NoAnswerError, secondsOf } from "../ask.ts";
import { type EventRecord, readEvent } from "../berths/berth-records.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { print } from "../print/stdout.ts";

interface WatchOptions extends BrokerChoice {
  readonly json?: true;
}

const help = `
Prints what is there (present), then a line for each event, until Ctrl-C: time, event, berth, pid of the tenant.
Events: added changed removed acquired ready handover released repaired starting failed stopping status players.

Examples:
  berth watch
  berth watch arena@bob
  berth watch --json | jq --unbuffered -r 'select(.event == "released").berth.name'`;

export function addWatch(program: Command): void {
  program
    .command("watch")
    .description("print what happens to berths, as it happens")
    .argument("[berth...]", "only these")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("each event on a line of its own"))
    .addHelpText("after", help)
    .action((names: string[], _options: WatchOptions, command: Command) =>
      watch(names, command.optsWithGlobals<WatchOptions>()),
    );
}

async function watch(names: readonly string[], options: WatchOptions): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stop.abort());
  const { signal } = stop;
  const { json } = options;
  try {
    using client = await connectAnswering(options, signal);
    for await (const { parameters } of client.stream("io.berthd.Broker.Watch", {}, { signal })) {
      const event = readEvent(parameters);
      if (names.length === 0 || names.includes(event.berth.name)) print(json ? jsonLine(event) : textLine(event));
    }
    throw gone();
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof BerthError && error.code === "CONNECTION_CLOSED" ? gone(error) : error;
  }
}

/** A connection to a broker that has answered: a watch of no berths says nothing, nor does a broker that is stopped. */
async function connectAnswering(options: WatchOptions, stop: AbortSignal): Promise<VarlinkClient> {
  const deadline = deadlineOf(options);
  const signal = AbortSignal.any([stop, deadline]);
  const { client, path } = await connectUntil(options, signal);
  try {
    (await client.call("org.varlink.service.GetInfo", {}, { signal }))[Symbol.dispose]();
    return client;
  } catch (error) {
    client.close();
    throw deadline.aborted ? new NoAnswerError(path, secondsOf(options)) : error;
  }
}

function gone(cause?: BerthError): BerthError {
  return new BerthError(
    "CONNECTION_CLOSED",
    "the broker closed the connection, so the watch ends; is berthd still running?",
    { cause },
  );
}

function textLine({ event, berth }: EventRecord): string {
  const pid = berth.lease ? `  ${berth.lease.pid}` : "";
  const drain = berth.drain ? `  draining: ${drainOf(berth, Date.now())}` : "";
  return `${new Date().toISOString()}  ${event.padEnd(8)}  ${printable(berth.name)}${pid}${drain}\n`;
}

function jsonLine({ event, berth }: EventRecord): string {
  return `${printableJson({ time: new Date().toISOString(), event, berth })}\n`;
}
