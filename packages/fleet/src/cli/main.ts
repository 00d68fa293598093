#!/usr/bin/env node
/** `berth-fleet`, from its arguments to its exit code. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Fault, type FaultCode } from "../fault.ts";
import { agentCommand } from "./agent-command.ts";
import { allocateCommand, releaseCommand } from "./allocate-commands.ts";
import { commonFlags, type Printed } from "./common.ts";
import { applyCommand, placeCommand, rmCommand } from "./fleet-commands.ts";
import { eventsCommand, explainCommand, watchCommand } from "./look-commands.ts";
import { lsCommand } from "./ls-command.ts";
import { cordonCommand, drainCommand, moveCommand, uncordonCommand } from "./move-commands.ts";
import { printable } from "./printable.ts";
import { replaceCommand } from "./replace-command.ts";
import { rolesCommand } from "./roles-command.ts";
import { serveCommand } from "./serve-command.ts";
import { usage } from "./usage.ts";

const commands: ReadonlyMap<string, (args: readonly string[]) => Promise<Printed | string>> = new Map([
  ["agent", agentCommand],
  ["apply", applyCommand],
  ["place", placeCommand],
  ["allocate", allocateCommand],
  ["release", releaseCommand],
  ["move", moveCommand],
  ["drain", drainCommand],
  ["cordon", cordonCommand],
  ["uncordon", uncordonCommand],
  ["serve", serveCommand],
  ["ls", lsCommand],
  ["watch", watchCommand],
  ["events", eventsCommand],
  ["explain", explainCommand],
  ["rm", rmCommand],
  ["replace", replaceCommand],
  ["roles", rolesCommand],
] as const);

const WRONG_USAGE = 100;

const REFUSALS: ReadonlySet<FaultCode> = new Set([
  ...(["NO_SUCH_SET", "NO_SUCH_ALLOCATION", "NO_SUCH_BERTH", "NO_SUCH_HOST"] as const),
  ...(["NONE_READY", "NO_FIT", "NOT_MOVED", "CONTENDED"] as const),
]);

async function main(words: readonly string[]): Promise<number> {
  try {
    if (words[0] === "--version") return print(`${version()}\n`);
    const { name, args } = commandOf(words);
    if (name === undefined) {
      if (args.includes("--version")) return print(`${version()}\n`);
      if (args.includes("--help")) return print(usage);
      throw new Fault("USAGE", `a command is missing\n\n${usage}`);
    }
    const command = commands.get(name);
    if (command === undefined) throw new Fault("USAGE", `there is no command ${JSON.stringify(name)}\n\n${usage}`);
    const printed = await command(args);
    if (typeof printed === "string") return print(printed);
    print(printed.text);
    return printed.refused ? 1 : 0;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { code, message } = error;
    const exitCode = exitCodeOf(error);
    // Wrong usage is about what the operator has written, and has lines. Other messages may quote etcd.
    const shown = exitCode === WRONG_USAGE ? message : printable(message);
    if (words.includes("--json")) console.error(printable(JSON.stringify({ error: code, message })));
    else console.error("berth-fleet: %s", shown);
    return exitCode;
  }
}

/** The command and its arguments. Options of all commands may come before it, as in an alias. Throws USAGE. */
function commandOf(words: readonly string[]): { readonly name: string | undefined; readonly args: readonly string[] } {
  const args = [...words];
  const { tokens } = parseArgs({ args, options: commonFlags, strict: false, allowPositionals: true, tokens: true });
  const name = tokens.find(({ kind }) => kind === "positional");
  if (name === undefined) return { name: undefined, args };
  for (const token of tokens) {
    if (token === name) break;
    if (token.kind === "option" && !Object.hasOwn(commonFlags, token.name))
      throw new Fault("USAGE", `${token.rawName} has to come after the command; see berth-fleet --help`);
  }
  return { name: words[name.index], args: args.toSpliced(name.index, 1) };
}

function exitCodeOf({ code }: Fault): number {
  if (code === "USAGE" || code === "INVALID_RECORD") return WRONG_USAGE;
  return REFUSALS.has(code) ? 1 : 111;
}

/** Of this package: src/cli and dist/cli are equally deep. */
function version(): string {
  const { version }: { version: string } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
  );
  return version;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
