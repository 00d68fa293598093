/** `berth check`: every problem of a configuration, before a broker reads it. It opens no socket. */
import { readdirSync } from "node:fs";
import type { Command } from "commander";
import { systemAccounts } from "../../accounts.ts";
import { defaultConfigDirectories } from "../../config/directories.ts";
import { type LoadedConfig, loadConfig } from "../../config/load.ts";
import { formatProblem } from "../../config/toml/problem.ts";
import { BerthError } from "../../errors.ts";
import { native } from "../../native.ts";
import { printable, printableJson } from "../../printable.ts";
import { jsonOption } from "../options.ts";
import { EXIT_REFUSED } from "../print/exit.ts";
import { print } from "../print/stdout.ts";

interface CheckOptions {
  readonly json?: true;
}

const help = `
Without a directory: /usr/lib/berthd and /etc/berthd for root, ~/.config/berthd for others. Of several, later ones win.
Exit status: 0 fine, 1 problems, 100 usage, 111 system.

Examples:
  berth check
  berth check ./berths
  berth check /usr/lib/berthd ./berths
  berth check --json | jq -r '.problems[] | "\\(.file):\\(.line)"'`;

export function addCheck(program: Command): void {
  program
    .command("check")
    .description("validate configuration: every problem, with its file, line and remedy")
    .argument("[directory...]", "where it is")
    .addOption(jsonOption("the result"))
    .addHelpText("after", help)
    .action((named: string[], { json }: CheckOptions) => {
      for (const directory of named) mustBeDirectory(directory);
      const directories = named.length > 0 ? named : defaultConfigDirectories();
      const loaded = loadConfig({ directories, accounts: systemAccounts(native) });
      print(json ? jsonResult(loaded) : textResult(loaded, directories));
      if (loaded.problems.length > 0) process.exitCode = EXIT_REFUSED;
    });
}

/** The configuration passes over a missing directory; one that somebody has typed is more likely mistyped. */
function mustBeDirectory(path: string): void {
  try {
    readdirSync(path);
  } catch (cause) {
    const why = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new BerthError(
      "USAGE",
      `cannot read the directory ${printable(path)}: ${why}; name one that holds NAME.toml files`,
      { cause },
    );
  }
}

function textResult(loaded: LoadedConfig, directories: readonly string[]): string {
  const { specs, troubled, problems, warnings } = loaded;
  const lines = [
    ...problems.map(formatProblem),
    ...warnings.map((warning) => formatProblem({ ...warning, message: `warning: ${warning.message}` })),
  ].flatMap((text) => text.split("\n").map(printable));
  const fine = `${count(specs.length, "berth")} with ${count(socketsOf(loaded), "socket")}: fine`;
  if (problems.length > 0) {
    if (troubled.length > 0) lines.push(`with problems: ${troubled.map(({ name }) => printable(name)).join(" ")}`);
    if (specs.length > 0) lines.push(fine);
    lines.push(count(problems.length, "problem"));
  } else lines.push(specs.length === 0 ? `no berths in ${directories.map(printable).join(" or ")}` : fine);
  return `${lines.join("\n")}\n`;
}

function jsonResult(loaded: LoadedConfig): string {
  const { specs, troubled, problems, warnings } = loaded;
  const counts = { berths: specs.length, sockets: socketsOf(loaded) };
  const names = troubled.map(({ name }) => name);
  return `${printableJson({ ...counts, problems, withProblems: names, warnings }, 2)}\n`;
}

/** Each address is one socket. */
function socketsOf({ specs }: Pick<LoadedConfig, "specs">): number {
  return specs.flatMap(({ sockets }) => sockets.flatMap(({ listen }) => listen)).length;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
