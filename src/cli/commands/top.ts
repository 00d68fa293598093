/** `berth top`: what the servers of berths do, anew each second. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { printableJson } from "../../printable.ts";
import { listBerths, noSuchBerth } from "../berths/berth-records.ts";
import { TABLE_WIDTH } from "../berths/berth-table.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { hasColours, print, terminalWidth } from "../print/stdout.ts";
import { type Row, rowsOf, takeSample } from "../top/sample.ts";
import { Screen } from "../top/screen.ts";
import { topTable } from "../top/top-table.ts";

interface TopOptions extends BrokerChoice {
  readonly interval: number;
  readonly once?: true;
  readonly json?: true;
}

const LONGEST_SECONDS = 3600;

const help = `
CPU% is of one processor, MEM what is resident: of the main process, of what it has started, and of its session. CONNS
counts established TCP connections, BACKLOG those that wait to be accepted. QUEUE is bytes that wait in UDP sockets, and
DROPS counts datagrams for which there was no room. Sockets are those of this network namespace.
Without a terminal it prints one table, as with --once. On one, q ends it.

Examples:
  berth top
  berth top --once arena@bob
  berth top --json --interval 10 | jq --unbuffered -c '.berths[] | select(.drops > 0)'`;

export function addTop(program: Command): void {
  program
    .command("top")
    .description("show what servers use: processor, memory, connections, queues, drops")
    .argument("[berth...]", "only these")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addOption(new Option("--interval <seconds>", "how often to look").default(1).argParser(readInterval))
    .option("--once", "print one table, after one interval")
    .addOption(jsonOption("each look on a line of its own"))
    .addHelpText("after", help)
    .action((names: string[], _options: TopOptions, command: Command) =>
      top(names, command.optsWithGlobals<TopOptions>()),
    );
}

async function top(names: readonly string[], options: TopOptions): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop.abort());
  try {
    if (options.json) await printAll(names, options, stop.signal);
    else if (options.once || process.stdout.isTTY !== true) await printOne(names, options, stop.signal);
    else await showAll(names, options, stop);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

async function printOne(names: readonly string[], options: TopOptions, signal: AbortSignal): Promise<void> {
  for await (const rows of looks(names, options, signal)) {
    print(topTable(rows, hasColours(), terminalWidth() ?? TABLE_WIDTH));
    return;
  }
}

async function printAll(names: readonly string[], options: TopOptions, signal: AbortSignal): Promise<void> {
  for await (const berths of looks(names, options, signal)) {
    print(`${printableJson({ time: new Date().toISOString(), berths })}\n`);
    if (options.once) return;
  }
}

async function showAll(names: readonly string[], options: TopOptions, stop: AbortController): Promise<void> {
  using screen = new Screen(() => stop.abort());
  for await (const rows of looks(names, options, stop.signal))
    screen.show(topTable(rows, hasColours(), terminalWidth() ?? TABLE_WIDTH));
}

/** What was seen in each interval. The first is over after one. */
async function* looks(names: readonly string[], options: TopOptions, signal: AbortSignal): AsyncGenerator<Row[]> {
  let before = takeSample(await berthsOf(names, options));
  for (;;) {
    await sleep(1000 * options.interval, undefined, { signal });
    const now = takeSample(await berthsOf(names, options));
    yield rowsOf(now, before);
    before = now;
  }
}

async function berthsOf(names: readonly string[], options: TopOptions) {
  const berths = await listBerths(options);
  const missing = names.find((name) => !berths.some((berth) => berth.name === name));
  if (missing !== undefined) throw noSuchBerth(missing);
  return names.length === 0 ? berths : berths.filter(({ name }) => names.includes(name));
}

function readInterval(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds >= 0.1 && seconds <= LONGEST_SECONDS) return seconds;
  throw new BerthError(
    "USAGE",
    `--interval ${text} is not a number of seconds from 0.1 to ${LONGEST_SECONDS}; write for example --interval 5`,
  );
}
