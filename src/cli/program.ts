/** The command tree of `berth`: its table of contents, and what completion is generated from. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { packageRoot } from "../native.ts";
import { printable } from "../printable.ts";
import { socketOption } from "./options.ts";
import { print } from "./print/stdout.ts";

const help = `
Examples:
  berth ls                   which berths there are, and who has them
  berth run arena@bob        start a server without privilege, with its sockets already open
  berth new tanks --from bzflag --user games
                             write the file of a berth, from a recipe of a game
  berth check ./berths       validate configuration before it is used

Exit status: 0, 1 refused, 100 usage, 111 system; of \`berth run\`, the server's own.
See berth(1), berthd(8) and berthd.toml(5).`;

/** Each command, in the order of the help. A command is loaded when it is called, or when all are shown. */
const commands: Readonly<Record<string, (program: Command) => Promise<void>>> = {
  ls: async (program) => (await import("./commands/ls.ts")).addLs(program),
  show: async (program) => (await import("./commands/show.ts")).addShow(program),
  top: async (program) => (await import("./commands/top.ts")).addTop(program),
  history: async (program) => (await import("./commands/history.ts")).addHistory(program),
  watch: async (program) => (await import("./commands/watch.ts")).addWatch(program),
  reload: async (program) => (await import("./commands/reload.ts")).addReload(program),
  start: async (program) => (await import("./commands/start.ts")).addStart(program),
  restart: async (program) => (await import("./commands/restart.ts")).addRestart(program),
  drain: async (program) => (await import("./commands/drain.ts")).addDrain(program),
  upgrade: async (program) => (await import("./commands/upgrade.ts")).addUpgrade(program),
  stop: async (program) => (await import("./commands/stop.ts")).addStop(program),
  logs: async (program) => (await import("./commands/logs.ts")).addLogs(program),
  console: async (program) => (await import("./commands/console.ts")).addConsole(program),
  enable: async (program) => (await import("./commands/enable.ts")).addEnable(program),
  disable: async (program) => (await import("./commands/enable.ts")).addDisable(program),
  run: async (program) => (await import("./commands/run.ts")).addRun(program),
  new: async (program) => (await import("./commands/new.ts")).addNew(program),
  edit: async (program) => (await import("./commands/edit.ts")).addEdit(program),
  rm: async (program) => (await import("./commands/rm.ts")).addRm(program),
  backup: async (program) => (await import("./commands/backup.ts")).addBackup(program),
  restore: async (program) => (await import("./commands/restore.ts")).addRestore(program),
  check: async (program) => (await import("./commands/check.ts")).addCheck(program),
  doctor: async (program) => (await import("./commands/doctor.ts")).addDoctor(program),
  explain: async (program) => (await import("./commands/explain.ts")).addExplain(program),
  image: async (program) => (await import("./commands/image.ts")).addImage(program),
  range: async (program) => (await import("./commands/range.ts")).addRange(program),
  oci: async (program) => (await import("./commands/oci.ts")).addOci(program),
  fleet: async (program) => (await import("./commands/fleet.ts")).addFleet(program),
  "serve-state": async (program) => (await import("./commands/serve-state.ts")).addServeState(program),
  units: async (program) => (await import("./commands/units.ts")).addUnits(program),
  completion: async (program) => (await import("./commands/completion.ts")).addCompletion(program),
};

/**
 * A fresh program: parsing leaves its values in it, so one is good for one parse. With the words of a command line, it
 * has the command that they call and no other, where that is clear.
 */
export async function createProgram(words: readonly string[] = []): Promise<Command> {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  const program = new Command("berth")
    .description("Asks the broker that holds servers' sockets, and starts servers on them.")
    .version(version)
    .addOption(socketOption())
    .enablePositionalOptions()
    .configureOutput({ writeOut: print, outputError: (text, write) => write(sentence(text)) })
    .exitOverride()
    .addHelpText("after", help);
  const called = calledBy(words);
  for (const [name, add] of Object.entries(commands)) if (called === undefined || called === name) await add(program);
  return program;
}

/** The command of a command line. Undefined when all are needed: for a text of help, or to tell of what is wrong. */
function calledBy(words: readonly string[]): string | undefined {
  const [first = "", second, third = ""] = words;
  const name = first === "--socket" && second !== undefined ? third : first.startsWith("--socket=") ? second : first;
  // Completion is made from all the others.
  return name !== undefined && name !== "completion" && Object.hasOwn(commands, name) ? name : undefined;
}

/** commander's `error: …` as every error of ours is written. */
function sentence(text: string): string {
  const [first = "", ...rest] = text
    .replace(/^error: /, "")
    .trimEnd()
    .split("\n");
  return `berth: ${printable([first.replace(/\.$/, ""), ...rest].join(" "))}; see berth --help\n`;
}
