/** `berth explain NAME -- COMMAND`: runs a server and prints a configuration for what it binds. It needs no broker. */
import type { Command } from "commander";
import { systemAccounts } from "../../accounts.ts";
import { BERTH_NAME_RULE, parseBerthName } from "../../config/toml/name.ts";
import { BerthError, errnoName } from "../../errors.ts";
import { native } from "../../native.ts";
import { formatListenAddress } from "../../net/address.ts";
import { protocolName } from "../../net/transport.ts";
import { printable, printableJson } from "../../printable.ts";
import { EXIT_REFUSED, EXIT_SYSTEM } from "../exit.ts";
import { programPath } from "../explain/program-path.ts";
import type { SeenBind } from "../explain/recorder.ts";
import { folderFor, serverUser, userOf } from "../explain/server-place.ts";
import { explainOthers, suggestBerth } from "../explain/suggestion.ts";
import { traceBinds } from "../explain/trace.ts";
import { jsonOption } from "../options.ts";
import { print } from "../stdout.ts";

interface ExplainOptions {
  readonly user?: string;
  readonly for?: string;
  readonly json?: true;
}

const MAX_SECONDS = 86_400;

const help = `
The server runs as you start it: same user, environment and folder, each bind carried out as it asks; its output goes
to standard error. A port that its user may not bind is given to it as well: it gets another one, and is told that it has
the one it asked for. When it ends, at Ctrl-C or after --for, the text of NAME.toml is printed. Then it gets SIGTERM, and
SIGKILL after 5 seconds. Exit status: 0, 1 when there is nothing to hold, 100 usage, 111 system.

Examples:
  berth explain quake -- /usr/lib/ioquake3/ioq3ded +set dedicated 1 +map q3dm1
  berth explain --for 10 tanks -- bzfs -p 5154 > /etc/berthd/tanks.toml
  sudo berth explain --user games --for 10 tanks -- bzfs -p 515
  berth explain --for 10 --json tanks -- bzfs | jq -r '.binds[].address'`;

export function addExplain(program: Command): void {
  program
    .command("explain")
    .description("run a server, and print the configuration of a berth for what it binds")
    .argument("<name>", "the name of the berth")
    .argument("<command...>", "the server")
    .option("--for <seconds>", "end the server after this time")
    .option("--user <user>", "as root: run the server as this user, as a berth does")
    .addOption(jsonOption("what was seen"))
    // Options after the name belong to the server.
    .passThroughOptions()
    .addHelpText("after", help)
    .action(async (name: string, words: string[], { user, for: seconds, json }: ExplainOptions) => {
      const command = words[0] === "--" ? words.slice(1) : words;
      mustBeName(name);
      const [program] = command;
      if (program === undefined)
        throw new BerthError("USAGE", "the server is missing; write berth explain NAME -- COMMAND");
      const duration = seconds === undefined ? undefined : milliseconds(seconds);
      const place = placeOf(user);
      const stop = stopSignal();
      const trace = await traceBinds(command, { ...place, user: place.as, stop, duration, say, sys: native });
      if (!trace.started) {
        process.exitCode = EXIT_SYSTEM;
        return;
      }
      const { binds, code, signal } = trace;
      const path = programPath(program, place.directory, process.env["PATH"] ?? "");
      const berth = { name, command: [path, ...command.slice(1)], directory: place.directory, user: place.user, binds };
      const toml = suggestBerth(berth);
      const result = { name, command, exit: { code, signal }, binds: binds.map(jsonBind), toml: toml ?? null };
      if (json) print(`${printableJson(result, 2)}\n`);
      else if (toml !== undefined) print(toml);
      if (toml !== undefined) return;
      for (const line of explainOthers(binds, command)) say(line);
      say("the server bound nothing that a berth could hold; read its output above, or give it more time");
      process.exitCode = EXIT_REFUSED;
    });
}

/** As whom and where the server runs, and as whom it is to run in the berth. */
function placeOf(name: string | undefined) {
  const uid = process.geteuid?.() ?? -1;
  const accounts = systemAccounts(native);
  const as = name === undefined ? undefined : userOf(name, uid, accounts);
  const here = process.cwd();
  const directory = folderFor(as, here);
  if (directory !== here) say(`${as?.name} may not enter ${printable(here)}, so the server starts in /`);
  return { as, directory, user: serverUser(as, uid, process.env["SUDO_USER"], accounts) };
}

function jsonBind(bind: SeenBind) {
  const options = Object.entries(bind.options).map(([name, words]) => [name, words.length > 1 ? words : words[0]]);
  return {
    address: formatListenAddress(bind.listen),
    ...(bind.protocol === undefined ? {} : { protocol: protocolName(bind.protocol) }),
    kind: bind.listen.kind,
    error: bind.error === 0 ? null : errnoName(bind.error),
    options: Object.fromEntries(options) as Record<string, number | readonly number[]>,
    settled: bind.fixedAtBind,
    lost: bind.lost,
    pid: bind.pid,
    program: bind.program,
    count: bind.count,
  };
}

function mustBeName(name: string): void {
  if (parseBerthName(name) !== undefined) return;
  throw new BerthError("USAGE", `"${printable(name)}" cannot name a berth: ${BERTH_NAME_RULE}`);
}

function milliseconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && seconds <= MAX_SECONDS) return seconds * 1000;
  const rule = `is not a number of seconds above 0 and at most ${MAX_SECONDS}; write for example --for 10`;
  throw new BerthError("USAGE", `--for ${printable(text)} ${rule}`);
}

/** Fires at SIGINT and similar signals: the server is ended first, and the result is still printed. */
function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stopping.abort());
  return stopping.signal;
}

function say(sentence: string): void {
  process.stderr.write(`berth: ${sentence}\n`);
}
