/** `berth restore`: puts back what `berth backup` archived. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { makeFolders } from "../../make-folders.ts";
import { printable } from "../../printable.ts";
import { extractArchive, readAbout } from "../backup/archive.ts";
import { UPPER } from "../backup/extracted.ts";
import { holdBerth, knownBerth } from "../backup/held-berth.ts";
import { exchange, giveTo, rangeOf } from "../backup/replace.ts";
import { Scratch } from "../backup/scratch.ts";
import { mustBeBerth } from "../berths/berth-names.ts";
import { forBerths } from "../berths/for-berths.ts";
import { interruptible } from "../interruptible.ts";
import {
  type BrokerChoice,
  jsonOption,
  type StateChoice,
  socketOption,
  stateOption,
  timeoutOption,
} from "../options.ts";
import { stateFolder } from "../state-folder.ts";

interface RestoreOptions extends BrokerChoice, StateChoice {
  readonly keep?: true;
  readonly json?: true;
}

/** What `--json` prints. */
interface Restored {
  readonly file: string;
  /** When the archive was made; null if it does not say. */
  readonly time: string | null;
  /** Where the files are that were there before; null if they were removed, or if there were none. */
  readonly before: string | null;
  /** The server that runs afterwards; null if none was running. */
  readonly pid: number | null;
}

const help = `
Replaces what the berth's servers wrote by what is in FILE, an archive of berth backup, of this berth or of another one.
The files get owners of this berth's range of ids. They are unpacked while the server runs; it is stopped only for the
exchange, and started again. With --keep, the files of before stay in the berth's state folder.
Exit status: 0 restored; 1 refused; 100 usage; 111 the archive or the server does not work. If it fails before the
exchange, nothing has changed. If the server does not start after it, the files are restored.

Examples:
  berth restore arena@bob arena@bob-20260131T201500Z.tar
  berth restore --keep arena@bob /var/backups/arena@alice-20260131T201500Z.tar.zst`;

export function addRestore(program: Command): void {
  program
    .command("restore")
    .description("put back what berth backup archived")
    .argument("<berth>", "the berth that gets the files")
    .argument("<file>", "the archive")
    .addOption(new Option("--keep", "keep the files of before"))
    .addOption(socketOption())
    .addOption(stateOption())
    .addOption(timeoutOption("the broker, and for the server to end or to start", 120))
    .addOption(jsonOption("the result"))
    .addHelpText("after", help)
    .action((name: string, file: string, _options: RestoreOptions, command: Command) =>
      interruptible(async (signal) => {
        const options: RestoreOptions = { timeout: 120, ...command.optsWithGlobals<RestoreOptions>() };
        const json = options.json === true;
        await forBerths([name], () => restore(name, resolve(file), options, signal), { describe, signal, json });
      }),
    );
}

async function restore(name: string, file: string, options: RestoreOptions, signal: AbortSignal): Promise<Restored> {
  mustBeBerth(name);
  const about = await readAbout(file, signal);
  const known = await knownBerth(name, options);
  const state = await stateFolder(options);
  const folder = join(state, "roots", name);
  if (known === undefined && !existsSync(folder))
    throw new BerthError("STATE_ABSENT", `there is no berth ${printable(name)}; berth ls lists berths`);
  if (known !== undefined && known.root?.state !== "persistent")
    throw new BerthError(
      "STATE_ABSENT",
      `berth ${printable(name)} has no root that keeps files, so there is no place for them`,
    );
  makeFolders(folder, 0o700);
  using staging = new Scratch(folder, "restoring");
  const upper = join(staging.path, UPPER);
  await extractArchive(file, staging.path, signal);
  // The first lease reserves a range, so a berth that nobody had yet has none before it is held.
  const early = rangeOf(state, name);
  if (early !== undefined) await giveTo(early, upper, signal);
  const held = await holdBerth(known, name, options, signal);
  let before: string | null = null;
  try {
    const late = rangeOf(state, name);
    if (late === undefined && about?.range)
      throw new BerthError(
        "STATE_ABSENT",
        `berth ${printable(name)} has no range of ids yet, and the files have one; start the broker first`,
      );
    if (late !== undefined && late.base !== early?.base) await giveTo(late, upper, signal);
    before = exchange(join(folder, UPPER), upper, staging.path, options.keep === true);
  } catch (error) {
    await held.release();
    throw error;
  }
  return { file, time: about?.time ?? null, before, pid: await held.release() };
}

function describe({ file, time, before, pid }: Restored): string {
  const since = time === null ? "" : ` of ${printable(time.replace("T", " ").slice(0, 19))} UTC`;
  const kept = before === null ? "" : `; the files of before are in ${printable(before)}`;
  const runs = pid === null ? "" : `; its server runs as pid ${pid}`;
  return `restored ${printable(file)}${since}${kept}${runs}`;
}
