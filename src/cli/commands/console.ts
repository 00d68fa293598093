/** `berth console`: a terminal on a server's standard input and output, which the server has while nobody looks. */
import { type Command, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { attach } from "../console/attach.ts";
import { send, typable, typedLines } from "../console/send.ts";
import { type BrokerChoice, collect, jsonOption, socketOption, timeoutOption } from "../options.ts";

interface ConsoleOptions extends BrokerChoice {
  readonly readOnly?: true;
  readonly follow?: true;
  readonly raw?: true;
  readonly send?: readonly string[];
  readonly wait: number;
  readonly json?: true;
}

const LONGEST_WAIT_SECONDS = 3600;

const help = `
The berth needs console = true in [server] before its server starts. Several people can attach; what one types, all see.
The last 64 KiB of output come first.
Keys: Ctrl-] d detaches. Ctrl-C, Ctrl-D, Ctrl-Z and Ctrl-\\ are held back: Ctrl-] Ctrl-C types Ctrl-C.
Escape sequences pass only for colours and moves of the cursor, unless --raw is given.
Without a terminal it types the lines of standard input, as with --send.
Only root, the broker's user, and the user who started the server may attach.
Exit status: 0 detached, sent, or the server has ended; 1 refused, or no console; 100 usage; 111 connection lost.

Examples:
  berth console worlds
  berth console --read-only --follow worlds
  berth console --send save-all --wait 5 worlds`;

export function addConsole(program: Command): void {
  program
    .command("console")
    .description("attach to a server's console: read what it writes, and type commands")
    .argument("<berth>", "its name")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .option("--read-only", "only read; Ctrl-C ends this, not the server")
    .option("--follow", "attach to the next server when this one has ended")
    .option("--raw", "let all escape sequences reach this terminal")
    .addOption(
      new Option("--send <line>", "type this line, print what comes back, end; repeat for more").argParser(collect),
    )
    .addOption(new Option("--wait <seconds>", "how long to print after the last line").argParser(readWait).default(2))
    .addOption(jsonOption("with --send: what was sent and came back"))
    .addHelpText("after", help)
    .action((name: string, _options: ConsoleOptions, command: Command) =>
      open(name, command.optsWithGlobals<ConsoleOptions>()),
    );
}

async function open(berth: string, options: ConsoleOptions): Promise<void> {
  const { readOnly = false, follow = false, raw = false, json = false, send: lines } = options;
  if (readOnly && (lines !== undefined || json))
    throw new BerthError("USAGE", "--read-only does not go with --send and --json; leave one out");
  for (const line of lines ?? []) typable(line);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop.abort());
  try {
    const types = lines !== undefined || json || (process.stdin.isTTY !== true && !readOnly);
    if (types) await send(berth, lines ?? typedLines(), { ...options, json, raw }, stop.signal);
    else await attach(berth, { ...options, readOnly, follow, raw }, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  // Standard input may be open still.
  process.stdin.unref?.();
}

function readWait(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds >= 0 && seconds <= LONGEST_WAIT_SECONDS) return seconds;
  throw new BerthError(
    "USAGE",
    `--wait ${text} is not a number of seconds from 0 to ${LONGEST_WAIT_SECONDS}; write for example --wait 5`,
  );
}
