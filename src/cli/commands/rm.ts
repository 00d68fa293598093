/** `berth rm`: removes berths: their files, their place at boot, and their servers. What servers wrote stays. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { defaultConfigDirectories } from "../../config/directories.ts";
import { parseBerthName } from "../../config/toml/name.ts";
import { BerthError, RefusedError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import { askBroker } from "../ask.ts";
import { filesOf, withoutFiles } from "../berth-files.ts";
import { forBerths } from "../for-berths.ts";
import { interruptible } from "../interruptible.ts";
import { asking, canAsk } from "../new/questions.ts";
import {
  type BrokerChoice,
  type ConfigChoice,
  configOption,
  jsonOption,
  socketOption,
  timeoutOption,
} from "../options.ts";
import { servicesFor, unitOf } from "../services.ts";
import { stateFolder } from "../state-folder.ts";
import { stop } from "./stop.ts";

interface RmOptions extends BrokerChoice, ConfigChoice {
  readonly json?: true;
  readonly yes?: true;
}

/** What `--json` prints of one berth. */
interface Removed {
  /** None if the answer was no. */
  readonly files: readonly string[];
  /** The server that was stopped; null if nobody had the berth. */
  readonly pid: number | null;
  /** The folder of what its servers wrote, which stays; null if there is none. */
  readonly data: string | null;
}

const help = `
Removes NAME.toml and NAME.toml.d, has the broker reload, disables berth@NAME.service and stops the server. If the broker
refuses the reload, the files are put back and the server goes on. What the server wrote below its root stays, and so
does its range of ids: the command says how to remove them.
Exit status: 0 removed; 1 refused; 100 usage; 111 no broker, or the system prevents it.

Examples:
  berth rm arena@bob
  berth rm --yes arena@alice arena@bob`;

export function addRm(program: Command): void {
  program
    .command("rm")
    .description("remove berths: their files and their servers")
    .argument("<berth...>", "the berths to remove")
    .addOption(new Option("--yes", "do not ask"))
    .addOption(socketOption())
    .addOption(timeoutOption("the broker, and for each server to end"))
    .addOption(configOption())
    .addOption(jsonOption("the results"))
    .addHelpText("after", help)
    .action((names: string[], _options: RmOptions, command: Command) =>
      interruptible(async (signal) => {
        const options = command.optsWithGlobals<RmOptions>();
        const json = options.json === true;
        await forBerths(names, (name) => remove(name, options, signal), { describe, signal, json, atOnce: 1 });
      }),
    );
}

async function remove(name: string, options: RmOptions, signal: AbortSignal): Promise<Removed> {
  const kind = parseBerthName(name)?.kind;
  if (kind === undefined || kind === "template")
    throw new BerthError("USAGE", `${printableJson(name)} is not the name of a berth; \`berth ls\` lists them`);
  const directories = options.config?.map((path) => resolve(path)) ?? defaultConfigDirectories();
  const files = filesOf(name, directories);
  if (!(await isMeant(name, files, options))) return { files: [], pid: null, data: null };
  const data = join(await stateFolder(options), "roots", name);
  await withoutFiles(files, () => reload(options));
  // Only now: a packet would start a server on demand again while the berth is configured.
  await disable(name);
  const pid = await stopKnown(name, options, signal);
  return { files, pid, data: existsSync(data) ? data : null };
}

/** Asks. Throws USAGE if nobody is there to answer. */
async function isMeant(name: string, files: readonly string[], { yes }: RmOptions): Promise<boolean> {
  if (yes) return true;
  if (!canAsk())
    throw new BerthError("USAGE", `nobody is there to ask; to remove berth ${name}: berth rm --yes ${name}`);
  const question = `Stop the server of berth ${name}, and remove ${printable(files.join(" and "))}? [yes/no]`;
  const answer = await asking((ask) =>
    ask(question, (text) => (/^(y|yes|n|no)$/i.test(text) ? undefined : "Answer yes or no.")),
  );
  return /^y/i.test(answer);
}

async function reload(options: BrokerChoice): Promise<void> {
  await askBroker(options, async ({ client, signal }) => {
    using _ = await client.call("io.berthd.Broker.Reload", {}, { signal });
  });
}

/** Where systemd has no such unit, or it is not enabled, there is nothing to do. */
async function disable(name: string): Promise<void> {
  const services = await servicesFor(name).catch(ofSystem);
  const isEnabled = await services?.run("is-enabled", [unitOf(name)]).then(() => true, ofSystem);
  if (isEnabled) await services?.run("disable", [unitOf(name)]);
}

/** Nothing instead of what systemd says. */
function ofSystem(error: unknown): undefined {
  if (!(error instanceof BerthError) || error.code !== "SYSTEM_ERROR") throw error;
}

/** The broker still knows the berth while it has a tenant. */
async function stopKnown(name: string, options: BrokerChoice, signal: AbortSignal): Promise<number | null> {
  try {
    const { lease } = await stop(name, options, signal);
    return lease?.pid ?? null;
  } catch (error) {
    if (error instanceof RefusedError && error.error === "io.berthd.Broker.NoSuchBerth") return null;
    throw error;
  }
}

function describe({ files, pid, data }: Removed): string {
  if (files.length === 0) return "stays";
  const stopped = pid === null ? "" : `stopped pid ${pid}, `;
  const range = data === null ? undefined : data.slice(data.lastIndexOf("/") + 1);
  const left =
    data === null ? "" : `; to remove what it wrote: rm -r ${printable(data)} && berth range forget ${range}`;
  return `${stopped}removed ${printable(files.join(" and "))}${left}`;
}
