/** `berth ls`: the berths that the caller may take. */
import type { Command } from "commander";
import { printable, printableJson } from "../../printable.ts";
import { listBerths } from "../berths/berth-records.ts";
import { berthTable } from "../berths/berth-table.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { hasColours, print, terminalWidth } from "../print/stdout.ts";

interface LsOptions extends BrokerChoice {
  readonly json?: true;
  readonly names?: true;
}

const help = `
Examples:
  berth ls
  berth ls --json | jq -r '.[] | select(.state == "vacant").name'`;

export function addLs(program: Command): void {
  program
    .command("ls")
    .description("list the berths you may take, and who has them")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("the list").conflicts("names"))
    .option("--names", "print only the names, one a line")
    .addHelpText("after", help)
    .action(async (_options: LsOptions, command: Command) => {
      const options = command.optsWithGlobals<LsOptions>();
      const berths = await listBerths(options);
      if (options.json) print(`${printableJson(berths, 2)}\n`);
      else if (options.names) print(berths.map(({ name }) => `${printable(name)}\n`).join(""));
      else print(berthTable(berths, hasColours(), terminalWidth()));
    });
}
