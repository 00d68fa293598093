/** `berth explain NAME -- COMMAND`: runs a server and prints a configuration for what it binds. It needs no broker. */
import type { Command } from "commander";
import { BERTH_NAME_RULE, parseBerthName } from "../../config/toml/name.ts";
import { BerthError, errnoName } from "../../errors.ts";
import { formatListenAddress } from "../../net/address.ts";
import { protocolName } from "../../net/transport.ts";
import { printable, printableJson } from "../../printable.ts";
import { explainServer, sayWhyNothing } from "../explain/explained.ts";
import type { SeenBind } from "../explain/recorder.ts";
import { jsonOption } from "../options.ts";
import { EXIT_REFUSED, EXIT_SYSTEM } from "../print/exit.ts";
import { print } from "../print/stdout.ts";

interface ExplainOptions {
  readonly user?: string;
  readonly for?: string;
  readonly json?: true;
}

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
      if (command.length === 0)
        throw new BerthError("USAGE", "the server is missing; write berth explain NAME -- COMMAND");
      const explained = await explainServer(name, command, { user, seconds });
      if (explained === undefined) {
        process.exitCode = EXIT_SYSTEM;
        return;
      }
      const { binds, code, signal, toml } = explained;
      const result = { name, command, exit: { code, signal }, binds: binds.map(jsonBind), toml: toml ?? null };
      if (json) print(`${printableJson(result, 2)}\n`);
      else if (toml !== undefined) print(toml);
      if (toml !== undefined) return;
      sayWhyNothing(binds, command);
      process.exitCode = EXIT_REFUSED;
    });
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
