/**
 * `berth rm`: removes berths: their files, their place at boot, and their servers. With `--data`, what servers wrote is
 * deleted as well. Images stay.
 */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { defaultConfigDirectories } from "../../config/directories.ts";
import { BerthError, RefusedError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { askBroker } from "../ask.ts";
import { dataOf, deleteData } from "../berths/berth-data.ts";
import { filesOf, isConfigured, withoutFiles } from "../berths/berth-files.ts";
import { berthNames, mustBeBerth } from "../berths/berth-names.ts";
import { forBerths } from "../berths/for-berths.ts";
import { interruptible } from "../interruptible.ts";
import { shellWord } from "../new/next-steps.ts";
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
  readonly data?: true;
  readonly json?: true;
  readonly yes?: true;
}

/** What `--json` prints of one berth. */
interface Removed {
  /** None if the answer was no. */
  readonly files: readonly string[];
  /** The server that was stopped; null if nobody had the berth. */
  readonly pid: number | null;
  /** What its servers wrote and stays: the folder below the root, else the log; null if there is neither. */
  readonly data: string | null;
  /** What its servers wrote, which was deleted. */
  readonly deleted: readonly string[];
}

const help = `
Removes NAME.toml and NAME.toml.d, has the broker reload, disables berth@NAME.service and stops the server. If the broker
refuses the reload, the files are put back and the server goes on. What the server wrote below its root stays, and so
do its log and its range of ids. --data deletes what it wrote and its log: also of a berth whose files are gone already.
Images are never deleted. A name may be a pattern: 'arena@*' is every berth whose name begins so.
Exit status: 0 removed; 1 refused; 100 usage; 111 no broker, or the system prevents it.

Examples:
  berth rm arena@bob
  berth rm --yes arena@alice arena@bob
  berth rm --data --yes 'arena@*'`;

export function addRm(program: Command): void {
  program
    .command("rm")
    .description("remove berths: their files and their servers")
    .argument("<berth...>", "the berths to remove")
    .addOption(new Option("--data", "delete what their servers wrote, too"))
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
        const meant = await berthNames(names, options);
        await forBerths(meant, (name) => remove(name, options, signal), {
          describe: (removed, name) => describe(name, removed, options),
          signal,
          json,
          atOnce: 1,
        });
      }),
    );
}

async function remove(name: string, options: RmOptions, signal: AbortSignal): Promise<Removed> {
  mustBeBerth(name);
  const directories = options.config?.map((path) => resolve(path)) ?? defaultConfigDirectories();
  const data = dataOf(name, await stateFolder(options));
  const isOnlyData = options.data && data.length > 0 && !isConfigured(name, directories);
  const files = isOnlyData ? [] : filesOf(name, directories);
  if (!(await isMeant(name, files, options.data ? data : [], options)))
    return { files: [], pid: null, data: null, deleted: [] };
  await withoutFiles(files, () => reload(options));
  // Only now: a packet would start a server on demand again while the berth is configured.
  await disable(name);
  const pid = await stopKnown(name, options, signal);
  if (!options.data) return { files, pid, data: data[0] ?? null, deleted: [] };
  await deleteData(data);
  return { files, pid, data: null, deleted: data };
}

/** Asks. Throws USAGE if nobody is there to answer. */
async function isMeant(
  name: string,
  files: readonly string[],
  data: readonly string[],
  { yes, data: hasData }: RmOptions,
): Promise<boolean> {
  if (yes) return true;
  if (!canAsk()) {
    const command = `berth rm ${hasData ? "--data " : ""}--yes ${name}`;
    throw new BerthError("USAGE", `nobody is there to ask; to remove berth ${name}: ${command}`);
  }
  const steps = [
    `Stop the server of berth ${name}`,
    ...(files.length > 0 ? [`remove ${printable(files.join(" and "))}`] : []),
    ...(data.length > 0 ? [`delete for good what it wrote, ${printable(data.join(" and "))}`] : []),
  ];
  const question = `${[...steps.slice(0, -1), `and ${steps.at(-1)}`].join(", ")}? [yes/no]`;
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

function describe(name: string, { files, pid, data, deleted }: Removed, { config = [], socket }: RmOptions): string {
  if (files.length === 0 && deleted.length === 0) return "stays";
  const stopped = pid === null ? "" : `stopped pid ${pid}, `;
  const removed = printable([...files, ...deleted].join(" and "));
  if (data === null) return `${stopped}removed ${removed}`;
  const options = [
    ...(socket === undefined ? [] : ["--socket", socket]),
    ...config.flatMap((folder) => ["--config", folder]),
  ];
  const words = ["berth", "rm", "--data", "--yes", ...options, name].map(shellWord);
  return `${stopped}removed ${removed}; what it wrote stays in ${printable(data)}; to delete that: ${words.join(" ")}`;
}
