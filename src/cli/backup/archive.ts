/**
 * The archive of a berth: what its servers wrote, by tar(1), with owners as numbers and all extended attributes, as
 * overlayfs keeps its own there. The first member says whose files they are. An archive is complete or absent.
 */
import { existsSync, linkSync, lstatSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { syncFolder, system } from "../../rootfs/disk/durable.ts";
import { type CommandOptions, runCommand } from "../../rootfs/images/run-command.ts";
import { KEEP, SAME } from "../../rootfs/images/tar-options.ts";
import { ABOUT, type About, parseAbout } from "./about.ts";
import { problemOfExtracted, UPPER } from "./extracted.ts";

export const COMPRESSIONS = ["none", "gzip", "zstd", "xz"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

const SUFFIX: Readonly<Record<Compression, string>> = { none: "", gzip: ".gz", zstd: ".zst", xz: ".xz" };
/** tar(1): some files changed while they were read. */
const CHANGED = 1;

export interface ArchiveOptions {
  readonly signal: AbortSignal;
  /** Called often while it is written, with the bytes that it has so far. */
  readonly onBytes?: (bytes: number) => void;
}

/** `arena@bob-20260131T201500Z.tar`: a name that sorts by time. */
export function archiveName({ berth, time }: About, compression: Compression): string {
  return `${berth}-${time.replace(/[-:]|\.\d+/g, "")}.tar${SUFFIX[compression]}`;
}

/**
 * Writes the folder `parent`/upper into a new archive, readable only to its owner. Gives its size in bytes. Throws
 * SYSTEM_ERROR if the archive is there already, or if a file changed that was to be still.
 */
export async function writeArchive(
  path: string,
  parent: string,
  about: About,
  compression: Compression,
  { signal, onBytes }: ArchiveOptions,
): Promise<number> {
  mustBeAbsent(path);
  // A folder of its own: where others can write, nobody can foresee its name or put a link there.
  const folder = system(path, () => mkdtempSync(join(dirname(path), ".berth-backup-")));
  const partial = join(folder, "archive");
  const look = setInterval(() => onBytes?.(sizeOfFile(partial)), LOOK_MS);
  try {
    writeFileSync(partial, "", { mode: 0o600, flag: "wx" });
    const packed = compression === "none" ? [] : [`--${compression}`];
    await create(partial, folder, parent, about, packed, { signal });
    await runCommand(["sync", partial], { signal, failure: "SYSTEM_ERROR" });
    system(path, () => giveName(partial, path));
    syncFolder(dirname(path));
    return sizeOfFile(path);
  } finally {
    clearInterval(look);
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * As {@link writeArchive}, but passes the archive on part by part. It writes only the first member, in the folder
 * `scratch`. Archives of the same files differ only in that member.
 */
export async function streamArchive(
  parent: string,
  scratch: string,
  about: About,
  onOutput: (bytes: Buffer) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  await create("-", scratch, parent, about, [], { signal, onOutput });
}

async function create(
  file: string,
  scratch: string,
  parent: string,
  about: About,
  packed: readonly string[],
  options: CommandOptions,
): Promise<void> {
  writeFileSync(join(scratch, ABOUT), `${JSON.stringify(about, undefined, 2)}\n`);
  const how = ["tar", "--create", ...KEEP, ...SAME, "--file", file] as const;
  const members = ["--directory", scratch, ABOUT, "--directory", parent, "--", UPPER];
  const mostStatus = about.taken === "live" ? CHANGED : 0;
  await runCommand([...how, ...packed, ...members], { ...options, mostStatus, failure: "SYSTEM_ERROR" });
}

const LOOK_MS = 100;

function mustBeAbsent(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  throw new BerthError(
    "SYSTEM_ERROR",
    `there is a file ${printable(path)} already; remove it, or choose another folder: --to`,
  );
}

/** What link(2) says on file systems without hard links, such as FAT and CIFS, where backups are often kept. */
const NO_LINKS: ReadonlySet<unknown> = new Set(["EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS"]);

/** By link(2) where it can: rename(2) would replace a file that has come meanwhile. Throws SYSTEM_ERROR for one. */
export function giveName(from: string, to: string, link: typeof linkSync = linkSync): void {
  try {
    link(from, to);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && NO_LINKS.has(error.code))) throw error;
    mustBeAbsent(to);
    renameSync(from, to);
  }
}

/** What an archive says of itself; undefined for one that tar(1) made without `berth backup`. Throws SYSTEM_ERROR. */
export async function readAbout(path: string, signal: AbortSignal): Promise<About | undefined> {
  if (!existsSync(path)) throw new BerthError("SYSTEM_ERROR", `there is no file ${printable(path)}`);
  const options = { signal, failure: "SYSTEM_ERROR" as const };
  const names: string[] = [];
  await runCommand(["tar", "--list", "--file", path], { ...options, onLine: (line) => void names.push(line) });
  if (!names.some((name) => name === `${UPPER}/`))
    throw new BerthError("SYSTEM_ERROR", `${printable(path)} has no folder ${UPPER}, so it is no backup of a berth`);
  if (!names.includes(ABOUT)) return undefined;
  const read = ["tar", "--extract", "--to-stdout", "--occurrence=1", "--file", path, ABOUT] as const;
  const lines: string[] = [];
  await runCommand(read, { ...options, onLine: (line) => void lines.push(line) });
  return parseAbout(path, lines.join("\n"));
}

/**
 * Extracts an archive's folder `upper` into `folder`, which must be new and be for nobody else. Throws SYSTEM_ERROR.
 */
export async function extractArchive(path: string, folder: string, signal: AbortSignal): Promise<void> {
  await extract(path, folder, [UPPER], path, { signal });
}

/** As {@link extractArchive}, of an archive that comes part by part, is not packed, and says whose it is. */
export async function extractStream(input: AsyncIterable<Buffer>, folder: string, signal: AbortSignal): Promise<void> {
  await extract("-", folder, [ABOUT, UPPER], "the archive", { signal, input });
}

async function extract(
  file: string,
  folder: string,
  members: readonly string[],
  name: string,
  options: CommandOptions & { readonly signal: AbortSignal },
): Promise<void> {
  const how = ["tar", "--extract", ...KEEP, "--same-permissions", "--same-owner", "--file", file] as const;
  await runCommand([...how, "--directory", folder, "--", ...members], { ...options, failure: "SYSTEM_ERROR" });
  const problem = await problemOfExtracted(folder, options.signal);
  if (problem !== undefined) throw unusable(name, problem);
  await runCommand(["sync", "--file-system", dirname(folder)], { signal: options.signal, failure: "SYSTEM_ERROR" });
}

function unusable(path: string, why: string): BerthError {
  return new BerthError("SYSTEM_ERROR", `${printable(path)} cannot be restored: ${printable(why)}`);
}

function sizeOfFile(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
