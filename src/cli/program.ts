/** The command tree of `berth`: its table of contents, and what completion is generated from. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { packageRoot } from "../native.ts";
import { printable } from "../printable.ts";
import { addCheck } from "./commands/check.ts";
import { addCompletion } from "./commands/completion.ts";
import { addExplain } from "./commands/explain.ts";
import { addImage } from "./commands/image.ts";
import { addLs } from "./commands/ls.ts";
import { addRange } from "./commands/range.ts";
import { addReload } from "./commands/reload.ts";
import { addRun } from "./commands/run.ts";
import { addShow } from "./commands/show.ts";
import { addUnits } from "./commands/units.ts";
import { addWatch } from "./commands/watch.ts";
import { socketOption } from "./options.ts";
import { print } from "./stdout.ts";

const help = `
Examples:
  berth ls                   which berths there are, and who has them
  berth run arena@bob        start a server without privilege, with its sockets already open
  berth check ./berths       validate configuration before it is used

Exit status: 0, 1 refused, 100 usage, 111 system; of \`berth run\`, the server's own.
See berth(1), berthd(8) and berthd.toml(5).`;

/** A fresh program: parsing leaves its values in it, so one is good for one parse. */
export function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  const program = new Command("berth")
    .description("Asks the broker that holds servers' sockets, and starts servers on them.")
    .version(version)
    .addOption(socketOption())
    .enablePositionalOptions()
    .configureOutput({ writeOut: print, outputError: (text, write) => write(sentence(text)) })
    .exitOverride()
    .addHelpText("after", help);
  addLs(program);
  addShow(program);
  addWatch(program);
  addReload(program);
  addRun(program);
  addCheck(program);
  addExplain(program);
  addImage(program);
  addRange(program);
  addUnits(program);
  addCompletion(program);
  return program;
}

/** commander's `error: …` as every error of ours is written. */
function sentence(text: string): string {
  const [first = "", ...rest] = text
    .replace(/^error: /, "")
    .trimEnd()
    .split("\n");
  return `berth: ${printable([first.replace(/\.$/, ""), ...rest].join(" "))}; see berth --help\n`;
}
