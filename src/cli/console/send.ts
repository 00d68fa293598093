/** Types lines on a server's console, for scripts, and prints what comes back. */
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import type { BrokerChoice } from "../options.ts";
import { print } from "../print/stdout.ts";
import { ConsoleConnection, endError, findConsole } from "./connection.ts";
import { OutputFilter, RESTORED } from "./output-filter.ts";

export interface SendOptions extends BrokerChoice {
  /** Seconds to go on printing after the last line. */
  readonly wait: number;
  readonly json: boolean;
  readonly raw: boolean;
}

/** The most bytes of a line that a terminal takes, MAX_CANON of Linux. */
const LINE_MAX = 4095;
/** Enter. */
const ENTER = "\r";

/** What `--json` prints. */
interface SentRecord {
  readonly berth: string;
  readonly pid: number;
  readonly sent: readonly string[];
  /** Lines that came back, the typed ones among them. */
  readonly output: readonly string[];
  /** Whether the server has ended meanwhile. */
  readonly ended: boolean;
}

/** Lines of standard input, as they come. Nothing is read before the first is asked for: it would be lost. */
export async function* typedLines(): AsyncGenerator<string> {
  yield* createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
}

/** Throws USAGE before anything is typed if a line cannot be typed. */
export async function send(
  berth: string,
  lines: Iterable<string> | AsyncIterable<string>,
  options: SendOptions,
  signal: AbortSignal,
): Promise<void> {
  const server = await findConsole(berth, options);
  const isScreen = process.stdout.isTTY === true && !options.json;
  const filter = new OutputFilter(isScreen ? "screen" : "plain");
  let output = "";
  using connection = await ConsoleConnection.connect(server, (bytes, isOld) => {
    if (isOld) return;
    if (options.json) output += filter.push(bytes);
    else if (options.raw) process.stdout.write(bytes);
    else print(filter.push(bytes));
  });
  const over = new AbortController();
  const sent: string[] = [];
  const typing = async (): Promise<undefined> => {
    for await (const line of lines) {
      connection.type(Buffer.from(typable(line) + ENTER));
      sent.push(line);
    }
    await sleep(1000 * options.wait, undefined, { signal: AbortSignal.any([signal, over.signal]) });
  };
  const end = await Promise.race([connection.ended, typing()]).finally(() => {
    over.abort();
    if (isScreen) print(RESTORED);
  });
  if (end !== undefined && end !== "ended") throw endError(end, berth);
  if (!options.json) return;
  const shown = output === "" ? [] : output.replace(/\n$/, "").split("\n");
  const record: SentRecord = { berth, pid: server.pid, sent, output: shown, ended: end === "ended" };
  print(`${printableJson(record, 2)}\n`);
}

/** A line break in a name that a script passes on would be a command of its own. */
export function typable(line: string): string {
  if (/\p{Cc}/u.test(line)) {
    const message = `a line has a control character: ${printable(line)}; give each line a --send of its own`;
    throw new BerthError("USAGE", message);
  }
  if (Buffer.byteLength(line) < LINE_MAX) return line;
  throw new BerthError("USAGE", `a line has ${Buffer.byteLength(line)} bytes; a terminal takes less than ${LINE_MAX}`);
}
