/** `berth logs`: what a berth's server wrote, from the journal of its unit, or from the log that the broker keeps. */
import { join } from "node:path";
import { type Command, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { mustBeBerth } from "../berths/berth-names.ts";
import { interruptible } from "../interruptible.ts";
import { becomeJournalctl, type JournalChoice, printJournal } from "../logs/journal.ts";
import { FolderWatch, LogReader, logName } from "../logs/log-files.ts";
import { jsonLine, type LogLine, showLine } from "../logs/log-line.ts";
import { readSince } from "../logs/since.ts";
import {
  type BrokerChoice,
  jsonOption,
  type StateChoice,
  socketOption,
  stateOption,
  timeoutOption,
} from "../options.ts";
import { print } from "../print/stdout.ts";
import { servicesFor, unitOf } from "../services.ts";
import { stateFolder } from "../state-folder.ts";

interface LogsOptions extends BrokerChoice, StateChoice {
  readonly follow?: true;
  readonly lines?: number;
  readonly since?: Date;
  readonly json?: true;
}

const DEFAULT_LINES = 100;
const MOST_LINES = 1_000_000;

const help = `
Under systemd the log is the journal of berth@NAME.service: what the server wrote, and what systemd and berth-launch say
of it. Where systemd does not run, and for a server that the broker started itself, the log is in the state folder:
logs/NAME.log, and NAME.log.1 to NAME.log.4 before it, of 4 MiB each. Its times are UTC. --state reads that log always.
A server that was started by berth run writes to its own terminal.
--since takes 30s, 10m, 2h, 1d, or a time: '2026-01-31 20:15'. Without --lines it prints all lines since then.
Exit status: 0; of the journal, that of journalctl; 100 usage; 111 no log, or it cannot be read.

Examples:
  berth logs arena@bob
  berth logs -f arena@bob
  berth logs --since 1h worlds | grep -i error
  berth logs --json worlds | jq -r 'select(.from == "server").message'`;

export function addLogs(program: Command): void {
  program
    .command("logs")
    .description("print what a server wrote")
    .argument("<berth>", "its name")
    .option("-f, --follow", "go on with what it writes from now on, until Ctrl-C")
    .addOption(
      new Option("-n, --lines <number>", `how many of the last lines (default: ${DEFAULT_LINES})`).argParser(readLines),
    )
    .addOption(new Option("--since <time>", "only lines from then on").argParser((text) => readSince(text)))
    .addOption(socketOption())
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("each line"))
    .addHelpText("after", help)
    .action((name: string, _options: LogsOptions, command: Command) =>
      logs(name, command.optsWithGlobals<LogsOptions>()),
    );
}

function readLines(text: string): number {
  const lines = Number(text);
  if (/^\d+$/.test(text) && lines <= MOST_LINES) return lines;
  throw new BerthError("USAGE", `--lines ${text} is not a number up to ${MOST_LINES}; write for example -n 1000`);
}

async function logs(name: string, options: LogsOptions): Promise<void> {
  mustBeBerth(name);
  const journal = options.state === undefined ? await journalOf(name, options) : undefined;
  if (journal !== undefined && !options.json) becomeJournalctl(journal);
  await interruptible(async (signal) => {
    if (journal !== undefined) await printJournal(journal, signal);
    else await printFiles(name, options, signal);
  });
}

/** Undefined where systemd does not run, or has no unit for the berth. */
async function journalOf(name: string, options: LogsOptions): Promise<JournalChoice | undefined> {
  try {
    const { isUser } = await servicesFor(name);
    const lines = options.lines ?? (options.since === undefined ? DEFAULT_LINES : undefined);
    return { unit: unitOf(name), isUser, lines, since: options.since, follow: options.follow === true };
  } catch (error) {
    if (error instanceof BerthError && error.code === "SYSTEM_ERROR") return undefined;
    throw error;
  }
}

async function printFiles(name: string, options: LogsOptions, signal: AbortSignal): Promise<void> {
  const { since, lines = since === undefined ? DEFAULT_LINES : MOST_LINES } = options;
  const folder = join(await stateFolder(options), "logs");
  const show = options.json ? jsonLine : showLine;
  const printAll = (all: readonly LogLine[]): void => {
    if (all.length > 0) print(all.map(show).join(""));
  };
  const found = LogReader.open(folder, name, { lines, since });
  if (found === undefined) throw noLog(name, join(folder, logName(name)));
  using reader = found.reader;
  printAll(found.lines);
  if (!options.follow) return;
  using watch = new FolderWatch(folder, signal);
  while (!signal.aborted) {
    const { lines: more, isGap } = reader.read();
    if (isGap) process.stderr.write("berth: the server wrote faster than this printed it; lines are missing here\n");
    printAll(more);
    if (more.length === 0 && !isGap) await watch.changed();
  }
}

function noLog(name: string, path: string): BerthError {
  const message = `there is no log ${printable(path)}: neither the broker nor berth start has started the server of berth ${name} there; to run it in this terminal: berth run ${name}`;
  return new BerthError("SYSTEM_ERROR", message);
}
