/** `berth backup`: archives what the servers of berths wrote below their roots. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { makeFolders } from "../../make-folders.ts";
import { printable } from "../../printable.ts";
import { aboutNow, type Taken } from "../backup/about.ts";
import { archiveName, COMPRESSIONS, type Compression, writeArchive } from "../backup/archive.ts";
import { UPPER } from "../backup/extracted.ts";
import { holdBerth, knownBerth } from "../backup/held-berth.ts";
import { Meter } from "../backup/meter.ts";
import { rangeOf } from "../backup/replace.ts";
import { Scratch } from "../backup/scratch.ts";
import { takeSnapshot } from "../backup/snapshot.ts";
import { berthNames, mustBeBerth } from "../berths/berth-names.ts";
import type { BerthRecord } from "../berths/berth-records.ts";
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
import { sizeOf } from "../print/size.ts";
import { stateFolder } from "../state-folder.ts";

interface BackupOptions extends BrokerChoice, StateChoice {
  readonly to?: string;
  readonly compress: Compression;
  readonly snapshot?: true;
  readonly live?: true;
  readonly json?: true;
}

/** What `--json` prints of one berth. */
interface BackedUp {
  readonly file: string;
  readonly bytes: number;
  readonly taken: Taken;
  /** How long no server ran, in milliseconds; with a snapshot, how long it was frozen. */
  readonly paused: number;
  /** The server that runs afterwards; null if none was running, or if the next packet starts it. */
  readonly pid: number | null;
  /** The server that was stopped; null if none was. */
  readonly stopped: number | null;
}

const help = `
Writes FOLDER/NAME-TIME.tar: all files that the berth's servers wrote below its root, with owners, access lists and
extended attributes. The image is not in it: berth image ls names its source.
The server is stopped, its files are archived, and it is started again. The port stays open: players who connect
meanwhile wait. No server can start in the berth until then, not even on demand.
With --snapshot the server is frozen only while its files are cloned. It needs a file system that can clone files (XFS,
btrfs, bcachefs), and a server that systemd runs. Such a backup is what a power cut would leave.
With --live the server runs on, and the files may be torn: one is old, another one new.
It needs root, or the broker's user. The archive is complete or absent, also after Ctrl-C. berth restore reads it.
Exit status: 0 saved; 1 refused; 100 usage; 111 a server did not stop or start, or a file could not be read.

Examples:
  berth backup arena@bob
  berth backup --to /var/backups --compress zstd arena@alice arena@bob
  berth backup --snapshot worlds
  berth backup 'arena@*'`;

export function addBackup(program: Command): void {
  program
    .command("backup")
    .description("archive what the servers of berths wrote below their roots")
    .argument("<berth...>", "the berths")
    .addOption(new Option("--to <folder>", "where to write the archives (default: the current folder)"))
    .addOption(new Option("--compress <how>", "compress them").choices(COMPRESSIONS).default("none"))
    .addOption(new Option("--snapshot", "freeze the server only while its files are cloned").conflicts("live"))
    .addOption(new Option("--live", "leave the server running; files may be torn"))
    .addOption(socketOption())
    .addOption(stateOption())
    .addOption(timeoutOption("the broker, and for each server to end or to start", 120))
    .addOption(jsonOption("the results"))
    .addHelpText("after", help)
    .action((names: string[], _options: BackupOptions, command: Command) =>
      interruptible(async (signal) => {
        const options: BackupOptions = { timeout: 120, ...command.optsWithGlobals<BackupOptions>() };
        const json = options.json === true;
        await forBerths(await berthNames(names, options), (name) => backUp(name, options, signal), {
          describe,
          signal,
          json,
          atOnce: 1,
        });
      }),
    );
}

async function backUp(name: string, options: BackupOptions, signal: AbortSignal): Promise<BackedUp> {
  mustBeBerth(name);
  const state = await stateFolder(options);
  const folder = join(state, "roots", name);
  const known = await knownBerth(name, options);
  if (!existsSync(join(folder, UPPER))) throw nothingWritten(name, known, folder);
  const to = resolve(options.to ?? ".");
  makeFolders(to, 0o700);
  const taken: Taken = options.live ? "live" : options.snapshot && known?.lease ? "snapshot" : "stopped";
  const about = aboutNow(name, taken, rangeOf(state, name), known?.root?.images);
  const file = join(to, archiveName(about, options.compress));
  const write = async (parent: string): Promise<number> => {
    using meter = new Meter(name);
    return await writeArchive(file, parent, about, options.compress, { signal, onBytes: (bytes) => meter.show(bytes) });
  };
  const running = { pid: known?.lease?.pid ?? null, stopped: null };
  if (taken === "live") return { file, bytes: await write(folder), taken, paused: 0, ...running };
  if (taken === "snapshot") {
    using clone = new Scratch(folder, "snapshot");
    const paused = await takeSnapshot(name, join(folder, UPPER), clone.path, signal);
    return { file, bytes: await write(clone.path), taken, paused, ...running };
  }
  const held = await holdBerth(known, name, options, signal);
  const since = performance.now();
  const bytes = await write(folder).catch(async (error: unknown) => {
    await held.release();
    throw error;
  });
  const paused = held.stopped === null ? 0 : Math.round(performance.now() - since);
  return { file, bytes, taken, paused, pid: await held.release(), stopped: held.stopped };
}

function nothingWritten(name: string, berth: BerthRecord | undefined, folder: string): BerthError {
  const shown = printable(name);
  const message =
    berth === undefined
      ? `there is no berth ${shown}, and no folder ${printable(folder)}; berth ls lists berths`
      : !berth.root
        ? `berth ${shown} has no root, so berthd does not know where its server writes; archive that folder yourself: berth stop ${shown}; tar -cf ${shown}.tar FOLDER; berth start ${shown}`
        : berth.root.state === "persistent"
          ? `no server has had berth ${shown} yet, so there is nothing to archive`
          : `the root of berth ${shown} keeps nothing (root.state = "${berth.root.state}")`;
  return new BerthError("STATE_ABSENT", message);
}

function describe({ file, bytes, taken, paused, pid, stopped }: BackedUp): string {
  const seconds = (paused / 1000).toFixed(1);
  const how =
    taken === "live"
      ? "; its server ran on, so files may be torn"
      : taken === "snapshot"
        ? `; its server was frozen for ${paused} ms`
        : pid === null
          ? stopped === null
            ? ""
            : `; its server was stopped, and the next packet starts it`
          : `; its server was stopped for ${seconds} s, and runs as pid ${pid}`;
  return `saved ${printable(file)} (${sizeOf(bytes)})${how}`;
}
