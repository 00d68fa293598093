/** `berth upgrade`: starts the new versions of servers once nobody plays on the old ones. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { berthNames } from "../berths/berth-names.ts";
import { findBerth } from "../berths/berth-records.ts";
import { deadlineOption, whenEmptyOption } from "../berths/drain-calls.ts";
import { forBerths } from "../berths/for-berths.ts";
import { interruptible } from "../interruptible.ts";
import { jsonOption, socketOption, timeoutOption } from "../options.ts";
import { fail } from "../print/exit.ts";
import { brokersImages, getsVersion, type ImageVersion, readVersion } from "../upgrade/images.ts";
import { type UpgradeChoice, type Upgraded, upgradeBerth } from "../upgrade/upgrade-berth.ts";

interface UpgradeOptions extends UpgradeChoice {
  readonly image?: ImageVersion;
  readonly maxParallel: number;
  readonly json?: true;
}

const MOST_PARALLEL = 64;
const LOOK_MS = 100;
const LOOKS = 30;

const help = `
For each berth whose server has an older image or configuration: drains it as berth drain does, starts it again, and
waits until the new server serves. That is when it says so (READY=1), if the old server did; otherwise after three
seconds. If the new version does not serve, the version of the image that it had becomes the current one and is started
again, and the error says why.
--image makes this version of an image the current one first, as berth image use does.
The berths are upgraded one after another, or --max-parallel of them at once. After a failure no other is begun.
Run the same command again to go on: it leaves a server of the present version alone, unless you say --force.
At Ctrl-C, a drain that the command has begun is cancelled. A berth whose server has ended gets its new one first.
Exit status: 0 all are of the present version; 1 refused; 100 usage; 111 no broker, or a new version does not serve.

Examples:
  berth upgrade arena@bob
  berth upgrade --image arena@2 --when-empty arena@bob
  berth upgrade --max-parallel 2 --deadline 1h 'arena@*'
  berth upgrade --force --now worlds`;

export function addUpgrade(program: Command): void {
  program
    .command("upgrade")
    .description("start the new versions of servers, once nobody plays on the old ones")
    .argument("<berth...>", "the berths whose servers are to be upgraded")
    .addOption(
      new Option("--image <name@version>", "make this version of the image the current one first").argParser(
        readVersion,
      ),
    )
    .addOption(deadlineOption("each old server is stopped"))
    .addOption(whenEmptyOption())
    .addOption(new Option("--now", "do not wait for players").conflicts(["deadline", "whenEmpty"]))
    .addOption(
      new Option("--max-parallel <number>", "how many berths to upgrade at once").argParser(readCount).default(1),
    )
    .option("--force", "also servers of the present version, as after their program was replaced")
    .addOption(socketOption())
    .addOption(timeoutOption("the broker, and for each new server"))
    .addOption(jsonOption("the results"))
    .addHelpText("after", help)
    .action((words: string[], _options: UpgradeOptions, command: Command) =>
      interruptible(async (signal) => {
        const options = command.optsWithGlobals<UpgradeOptions>();
        const names = await berthNames(words, options);
        if (options.image !== undefined) await useImage(options.image, names, options, signal);
        const act = async (name: string): Promise<Upgraded> => {
          try {
            return await upgradeBerth(name, options, signal);
          } catch (error) {
            // Of what was finished after an interruption, too.
            if (signal.aborted && error instanceof BerthError && error.code === "SYSTEM_ERROR") fail("berth", error);
            throw error;
          }
        };
        await forBerths(names, act, {
          describe,
          signal,
          json: options.json === true,
          atOnce: options.maxParallel,
          onLeft: (left) => {
            const message = `berth: ${left.map(printable).join(" ")} not begun; once that is solved, the same command goes on`;
            process.stderr.write(`${message}\n`);
          },
        });
        if (signal.aborted) process.stderr.write("berth: interrupted; the same command goes on\n");
      }),
    );
}

/** Throws IMAGE_ABSENT, and CONFIG_INVALID if a berth would not get this version. The former one is current then. */
async function useImage(
  image: ImageVersion,
  names: readonly string[],
  choice: UpgradeChoice,
  signal: AbortSignal,
): Promise<void> {
  const images = await brokersImages(choice);
  const { name, version } = image;
  const former = images.list().find((one) => one.name === name && one.current);
  images.use(name, version);
  try {
    for (const berth of names) await mustGet(berth, image, choice, signal);
  } catch (error) {
    if (former !== undefined) images.use(name, former.version);
    throw error;
  }
}

async function mustGet(berth: string, image: ImageVersion, choice: UpgradeChoice, signal: AbortSignal): Promise<void> {
  const gets = await soonGets(berth, image, choice, signal);
  if (signal.aborted) throw new BerthError("ABORTED", "interrupted");
  if (gets) return;
  const { name, version } = image;
  const message = `berth ${berth} does not get ${name}@${version}: its file must say image = "${name}"; nothing has changed`;
  throw new BerthError("CONFIG_INVALID", message);
}

/** The broker looks once a second what the current versions are. */
async function soonGets(
  berth: string,
  image: ImageVersion,
  choice: UpgradeChoice,
  signal: AbortSignal,
): Promise<boolean> {
  for (let looks = 0; looks < LOOKS && !signal.aborted; looks++) {
    if (getsVersion(await findBerth(berth, choice), image)) return true;
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

function describe({ kind, pid, unit, images }: Upgraded): string {
  if (kind === "none") return "nobody has it; its next server is of the present version";
  if (kind === "current") return `pid ${pid} is of the present version`;
  const what = images && images.length > 0 ? `, ${images.map(printable).join(" + ")}` : "";
  return `upgraded to pid ${pid}${unit ? ` (${printable(unit)})` : ""}${what}`;
}

function readCount(text: string): number {
  const count = Number(text);
  if (/^\d{1,2}$/.test(text) && count >= 1 && count <= MOST_PARALLEL) return count;
  throw new InvalidArgumentError(`It must be a number from 1 to ${MOST_PARALLEL}.`);
}
