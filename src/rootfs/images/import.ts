/**
 * Imports a version of an image. It copies a folder, or extracts a casync index, into {@link Staging}. Then it compares
 * the result with the source, and moves it into place. A failed import changes no image. The next import removes the
 * files that it left in staging. An import needs root for files of other owners, devices and capabilities.
 */
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { BerthError } from "../../errors.ts";
import { closeAll } from "../../fd.ts";
import { type Native, native } from "../../native.ts";
import { system, writeDurably } from "../disk/durable.ts";
import { type OpenTree, openTree } from "../disk/open-tree.ts";
import { type Pause, pauseFor } from "../disk/pause.ts";
import { compareTrees, digestTree, type TreeSummary } from "../disk/tree-digest.ts";
import { archiveDigest, type CasyncSource, compareArchive, extract, isRemote } from "./casync.ts";
import { copyTree } from "./copy-tree.ts";
import { type DeviceNode, findDevices, hasDevices, removeDevices } from "./devices.ts";
import { IMAGE_RULE, parseReference } from "./image-name.ts";
import type { Images } from "./images.ts";
import { encodeManifest, type ImageSource, type Manifest } from "./manifest.ts";
import { type CommandOptions, runCommand } from "./run-command.ts";
import { isFetched, type Seeds, seedsFor } from "./seeds.ts";
import { openSource, othersWhoMayWrite } from "./source-folder.ts";
import { Staging } from "./staging.ts";

export interface ImportRequest {
  readonly name: string;
  /** Default: the time of the import in UTC, as `20261123-142501`. */
  readonly version?: string;
  /** A folder, or a casync index: its path, its address, or HOST:PATH. */
  readonly source: string;
  /** casync's stores of chunks. Default: `default.castr` beside the index. */
  readonly stores?: readonly string[];
  /** Further options of casync. */
  readonly casync?: readonly string[];
  /** The digest that the import must have: printed by `casync make`, or for a folder by an earlier import. */
  readonly digest?: string;
  /** Leaves device nodes out. Otherwise a tree with device nodes that are not harmless is refused. */
  readonly dropDevices?: boolean;
}

/** The present step of an import. A report adds the number of files done in that step. */
export type ImportStep = "copying" | "extracting" | "comparing" | "flushing";
export type OnProgress = (step: ImportStep, files: number) => void;

export interface ImportOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** Called with a sentence about a danger that does not end the import. */
  readonly onWarning?: (message: string) => void;
  readonly sys?: Native;
}

/**
 * Imports a version and makes it the current one. Throws IMPORT_FAILED when the result is not complete, IMAGE_IN_USE
 * when that version exists, USAGE, SYSTEM_ERROR, or the signal's reason.
 */
export async function importImage(
  images: Images,
  request: ImportRequest,
  { signal, onProgress = () => undefined, onWarning = () => undefined, sys = native }: ImportOptions = {},
): Promise<Manifest> {
  const { name, version = versionOf(new Date()) } = request;
  if (parseReference(`${name}@${version}`)?.kind !== "image")
    throw new BerthError("USAGE", `"${name}@${version}" is not a valid name of a version; ${IMAGE_RULE}`);
  const named = sourceOf(request);
  using folder = named.kind === "directory" ? openSource(named.location, sys) : undefined;
  const source: ImageSource = folder === undefined ? named : { ...named, location: folder.path };
  const others = folder && othersWhoMayWrite(folder);
  if (others !== undefined) onWarning(others);
  images.mustBeFree(name, version);
  const archive = { index: source.location, stores: request.stores ?? [], options: request.casync ?? [] };
  const keepsFetched = folder === undefined && isFetched(archive);
  using staging = Staging.open(images.folder, sys);
  try {
    if (!keepsFetched) await staging.tidy();
    const finished = join(staging.folder, "version");
    system(finished, () => mkdirSync(finished, { mode: 0o700 }));
    const tree = join(staging.folder, TREE);
    // A program that inherits the lock keeps its staging folder, even if this process is killed.
    const command = { inherit: staging.lock, ...(signal !== undefined && { signal }) };
    const { dropDevices = false } = request;
    const work: Work = { tree, command, sys, onProgress, pause: pauseFor(signal), dropDevices };
    const filled =
      folder !== undefined
        ? await copyFolder(folder, work)
        : await extractArchive(
            archive,
            seedsFor(images, name, archive, keepsFetched ? treesIn(staging.leftovers) : []),
            work,
          );
    const digest = filled.archive ?? filled.digest;
    if (request.digest !== undefined && request.digest !== digest)
      throw new BerthError(
        "IMPORT_FAILED",
        `the digest of ${source.location} is ${digest}, not ${request.digest}; nothing was imported`,
      );
    onProgress("flushing", filled.entries);
    await runCommand(["sync", "--file-system", tree], command);
    const { archive: archiveDigest, ...summary } = filled;
    const manifest: Manifest = {
      name,
      version,
      ...summary,
      imported: new Date().toISOString(),
      source: { ...source, ...(archiveDigest !== undefined && { digest: archiveDigest }) },
    };
    writeDurably(join(finished, "manifest.json"), encodeManifest(manifest));
    images.publish(finished, manifest, true);
    return manifest;
  } catch (error) {
    if (keepsFetched) await keepLargest(staging);
    throw error;
  } finally {
    await staging.clear();
  }
}

/** The tree in a staging folder. */
const TREE = "version/tree";

interface Work {
  readonly tree: string;
  readonly command: CommandOptions;
  readonly sys: Native;
  readonly onProgress: OnProgress;
  readonly pause: Pause;
  readonly dropDevices: boolean;
}

interface Filled extends TreeSummary {
  /** Digest of the archive that it came from. */
  readonly archive?: string;
  readonly droppedDevices?: number;
}

/** Copies the folder, then compares the copy with it. Both follow no link and read only what is in the folder. */
async function copyFolder(folder: OpenTree, work: Work): Promise<Filled> {
  const { tree, sys, onProgress, pause } = work;
  // Check the source first, so that a refusal comes at once. The copy is checked again below: the source may change.
  await devicesToDrop(folder, folder.path, work);
  const copied = counter((files) => onProgress("copying", files));
  await copyTree(folder, tree, sys, pause, copied);
  using copy = openTree(tree, sys);
  const devices = await devicesToDrop(copy, folder.path, work);
  const summary = await compareTrees(
    folder,
    copy,
    new Set(devices.map(({ path }) => path)),
    sys,
    pause,
    counter((files) => onProgress("comparing", files)),
  );
  return { ...summary, ...(await drop(devices, work)) };
}

/** Extracts with casync, which fetches only the chunks that the seeds do not have. Closes the locks of the seeds. */
async function extractArchive(source: CasyncSource, seeds: Seeds, work: Work): Promise<Filled> {
  const { tree, command, sys, onProgress, pause } = work;
  const onFile = counter((files) => onProgress("extracting", files));
  try {
    await extract(source, tree, seeds.trees, onFile, command);
  } finally {
    closeAll(seeds.locks);
  }
  using extracted = openTree(tree, sys);
  const devices = await devicesToDrop(extracted, source.index, work);
  onProgress("comparing", 0);
  await compareArchive(source, tree, command);
  const archive = await archiveDigest(source, tree, command);
  const dropped = await drop(devices, work);
  const summary = await digestTree(
    extracted,
    sys,
    pause,
    counter((files) => onProgress("comparing", files)),
  );
  return { archive, ...summary, ...dropped };
}

function treesIn(folders: readonly string[]): string[] {
  return folders.map((folder) => join(folder, TREE));
}

/**
 * After an import that fetched did not end: keeps the folder that has most of a tree, for the next import to take
 * chunks from. The others go, so that many attempts need no more room than one.
 */
async function keepLargest(staging: Staging): Promise<void> {
  let most = 0;
  for (const folder of [staging.folder, ...staging.leftovers]) {
    const size = await diskUsage(join(folder, TREE));
    if (size > most) staging.keep(folder);
    most = Math.max(most, size);
  }
}

/** Bytes on disk, as far as du(1) could count them; 0 if there is no such folder. */
async function diskUsage(path: string): Promise<number> {
  let bytes = 0;
  const onLine = (line: string): void => {
    bytes = Number.parseInt(line, 10);
  };
  try {
    if (existsSync(path)) await runCommand(["du", "--summarize", "--block-size=1", path], { onLine });
  } catch (error) {
    if (!(error instanceof BerthError)) throw error; // it has counted the rest
  }
  return bytes;
}

/** The device nodes to remove. Throws IMPORT_FAILED when there are some and `dropDevices` is false. */
async function devicesToDrop(
  tree: OpenTree,
  source: string,
  { dropDevices, sys, pause }: Work,
): Promise<readonly DeviceNode[]> {
  const devices = await findDevices(tree, sys, pause);
  if (devices.length > 0 && !dropDevices) throw hasDevices(source, devices);
  return devices;
}

async function drop(devices: readonly DeviceNode[], { tree, command }: Work): Promise<Pick<Filled, "droppedDevices">> {
  await removeDevices(tree, devices, command);
  return devices.length === 0 ? {} : { droppedDevices: devices.length };
}

/** The kind of a source: a folder, or a casync index (a file, an address or HOST:PATH). Throws USAGE for others. */
function sourceOf({ source, stores, casync }: ImportRequest): ImageSource {
  const stat = system(source, () => statSync(source, { throwIfNoEntry: false }));
  if (stat?.isDirectory()) {
    if (stores !== undefined || casync !== undefined)
      throw new BerthError(
        "USAGE",
        `${source} is a folder: --store and --casync are only for an index (.caidx); remove them`,
      );
    return { kind: "directory", location: source };
  }
  if (stores !== undefined && stores.filter(isRemote).length > 1)
    throw new BerthError(
      "USAGE",
      "casync can fetch from only one remote store; copy the other stores to a local folder",
    );
  if (stat?.isFile()) return { kind: "casync", location: resolve(source) };
  if (stat === undefined && isRemote(source)) return { kind: "casync", location: source };
  throw new BerthError(
    "USAGE",
    `${source} is not a folder or a casync index; name a folder, INDEX.caidx, the address of an index, or HOST:PATH`,
  );
}

/** `20261123-142501`, in UTC. */
function versionOf(now: Date): string {
  const [day = "", time = ""] = now.toISOString().split("T");
  return `${day.replaceAll("-", "")}-${time.slice(0, 8).replaceAll(":", "")}`;
}

function counter(report: (count: number) => void): () => void {
  let count = 0;
  return () => {
    count += 1;
    report(count);
  };
}
