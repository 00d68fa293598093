/** `berth logs`: becomes journalctl(1) for the unit of a berth's server. */
import { type Command, Option } from "commander";
import { parseBerthName } from "../../config/toml/name.ts";
import { BerthError, SysError } from "../../errors.ts";
import { isExecutable } from "../../launcher-path.ts";
import { native } from "../../native.ts";
import { printableJson } from "../../printable.ts";
import { programPath } from "../explain/program-path.ts";
import { servicesFor, unitOf } from "../services.ts";

interface LogsOptions {
  readonly follow?: true;
  readonly lines: number;
}

const MOST_LINES = 1_000_000;

const help = `
The log is the journal of berth@NAME.service: what the server wrote, and what systemd and berth-launch say of it. A
server that was started by berth run writes to its own terminal, and one that the broker started without systemd writes
to the broker's log.
Exit status: that of journalctl; 100 usage; 111 no systemd or no unit.

Examples:
  berth logs arena@bob
  berth logs -f arena@bob
  berth logs -n 1000 worlds | grep -i error`;

export function addLogs(program: Command): void {
  program
    .command("logs")
    .description("print what a server under systemd wrote")
    .argument("<berth>", "its name")
    .option("-f, --follow", "go on with what it writes from now on, until Ctrl-C")
    .addOption(new Option("-n, --lines <number>", "how many of the last lines").argParser(readLines).default(100))
    .addHelpText("after", help)
    .action((name: string, options: LogsOptions) => logs(name, options));
}

function readLines(text: string): number {
  const lines = Number(text);
  if (/^\d+$/.test(text) && lines <= MOST_LINES) return lines;
  throw new BerthError("USAGE", `--lines ${text} is not a number up to ${MOST_LINES}; write for example -n 1000`);
}

async function logs(name: string, { follow, lines }: LogsOptions): Promise<void> {
  const kind = parseBerthName(name)?.kind;
  if (kind === undefined || kind === "template")
    throw new BerthError("USAGE", `${printableJson(name)} is not the name of a berth; \`berth ls\` lists them`);
  const { isUser } = await servicesFor(name);
  const path = programPath("journalctl", process.cwd(), process.env["PATH"] ?? "");
  if (!isExecutable(path)) throw new BerthError("SYSTEM_ERROR", "there is no journalctl in PATH; install systemd's");
  const argv = [
    "journalctl",
    `--${isUser ? "user-unit" : "unit"}=${unitOf(name)}`,
    `--lines=${lines}`,
    "--no-pager",
    "--quiet",
    ...(follow ? ["--follow"] : []),
  ];
  const env = Object.entries(process.env).map(([variable, value]) => `${variable}=${value}`);
  throw new SysError("execve", -native.exec(path, argv, env, 0), path);
}
