/**
 * Imports a version of an image: a folder is copied, a casync index extracted, the result compared with where it came
 * from, and only then put in its place. Whatever happens before leaves nothing that anybody sees, and what it leaves
 * on disk the next import removes. It needs root for files of other owners, devices and capabilities.
 */
import { mkdirSync, realpathSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { abortError, BerthError } from "../../errors.ts";
import { type Native, native } from "../../native.ts";
import { system, writeDurably } from "../disk/durable.ts";
import { compareTrees, digestTree, type TreeSummary } from "../disk/tree-digest.ts";
import type { Pause } from "../disk/tree-walk.ts";
import { archiveDigest, type CasyncSource, compareArchive, extract, isRemote } from "./casync.ts";
import { type DeviceNode, findDevices, hasDevices, removeDevices } from "./devices.ts";
import { IMAGE_RULE, parseReference } from "./image-name.ts";
import type { Images } from "./images.ts";
import { encodeManifest, type ImageSource, type Manifest } from "./manifest.ts";
import { type CommandOptions, runCommand } from "./run-command.ts";
import { Staging } from "./staging.ts";

export interface ImportRequest {
  readonly name: string;
  /** Default: the time of the import, as `20261123-142501`. */
  readonly version?: string;
  /** A folder; or a casync index by its path, its address, or HOST:PATH. */
  readonly source: string;
  /** casync's stores of chunks, if they are not in `default.castr` beside the index. */
  readonly stores?: readonly string[];
  /** Further options of casync. */
  readonly casync?: readonly string[];
  /** What the digest must be: `casync make` prints it, or, of a folder, an earlier import's. */
  readonly digest?: string;
  /** Leaves device nodes out; else a tree that has any but harmless ones is refused. */
  readonly dropDevices?: boolean;
}

/** What an import is doing, and to how many files it has done it. */
export type ImportStep = "copying" | "extracting" | "comparing" | "flushing";
export type OnProgress = (step: ImportStep, files: number) => void;

export interface ImportOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly sys?: Native;
}

/**
 * Imports a version and makes it the current one. Throws IMPORT_FAILED when it cannot be had whole, IMAGE_IN_USE when
 * that version is there already, USAGE, SYSTEM_ERROR, or the signal's reason.
 */
export async function importImage(
  images: Images,
  request: ImportRequest,
  { signal, onProgress = () => undefined, sys = native }: ImportOptions = {},
): Promise<Manifest> {
  const { name, version = versionOf(new Date()) } = request;
  if (parseReference(`${name}@${version}`)?.kind !== "image")
    throw new BerthError("USAGE", `"${name}@${version}" cannot name a version; ${IMAGE_RULE}`);
  const source = sourceOf(request);
  images.mustBeFree(name, version);
  using workshop = Staging.open(images.folder, sys);
  try {
    await workshop.tidy();
    const finished = join(workshop.folder, "version");
    system(finished, () => mkdirSync(finished, { mode: 0o700 }));
    const tree = join(finished, "tree");
    // Whoever inherits the lock keeps what it works on from being removed, though this process be killed.
    const command = { inherit: workshop.lock, ...(signal !== undefined && { signal }) };
    const { dropDevices = false } = request;
    const work: Work = { tree, command, sys, onProgress, pause: pauseFor(signal), dropDevices };
    const filled =
      source.kind === "directory"
        ? await copyFolder(source.location, work)
        : await extractArchive(
            { index: source.location, stores: request.stores ?? [], options: request.casync ?? [] },
            images,
            name,
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
    const { archive, ...summary } = filled;
    const manifest: Manifest = {
      name,
      version,
      ...summary,
      imported: new Date().toISOString(),
      source: { ...source, ...(archive !== undefined && { digest: archive }) },
    };
    writeDurably(join(finished, "manifest.json"), encodeManifest(manifest));
    images.publish(finished, manifest, true);
    return manifest;
  } finally {
    await workshop.clear();
  }
}

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

/** cp(1) keeps owners, modes, times, attributes, hard links and holes, shares blocks where the file system can. */
async function copyFolder(folder: string, work: Work): Promise<Filled> {
  const { tree, command, sys, onProgress, pause } = work;
  // What counts is what was copied; but nobody should have to wait for that to be told.
  await devicesToDrop(folder, folder, work);
  const count = counter((files) => onProgress("copying", files));
  const argv = [
    "cp",
    "--archive",
    "--verbose",
    "--one-file-system",
    "--reflink=auto",
    "--no-target-directory",
  ] as const;
  await runCommand([...argv, "--", folder, tree], { ...command, onLine: count });
  const devices = await devicesToDrop(tree, folder, work);
  const summary = await compareTrees(
    folder,
    tree,
    new Set(devices.map(({ path }) => path)),
    sys,
    pause,
    counter((files) => onProgress("comparing", files)),
  );
  return { ...summary, ...(await drop(devices, work)) };
}

/** What of it the current version has is taken from there. */
async function extractArchive(source: CasyncSource, images: Images, name: string, work: Work): Promise<Filled> {
  const { tree, command, sys, onProgress, pause } = work;
  const current = images.resolve(name);
  using _held = "tree" in current ? images.hold(current) : undefined;
  const seeds = "tree" in current ? [current.tree] : [];
  await extract(
    source,
    tree,
    seeds,
    counter((files) => onProgress("extracting", files)),
    command,
  );
  const devices = await devicesToDrop(tree, source.index, work);
  onProgress("comparing", 0);
  await compareArchive(source, tree, command);
  const archive = await archiveDigest(source, tree, command);
  const dropped = await drop(devices, work);
  const summary = await digestTree(
    tree,
    sys,
    pause,
    counter((files) => onProgress("comparing", files)),
  );
  return { archive, ...summary, ...dropped };
}

/** The device nodes that the image will be without. Throws IMPORT_FAILED if it was not said that it may be. */
async function devicesToDrop(
  tree: string,
  source: string,
  { dropDevices, pause }: Work,
): Promise<readonly DeviceNode[]> {
  const devices = await findDevices(tree, pause);
  if (devices.length > 0 && !dropDevices) throw hasDevices(source, devices);
  return devices;
}

async function drop(devices: readonly DeviceNode[], { tree, command }: Work): Promise<Pick<Filled, "droppedDevices">> {
  await removeDevices(tree, devices, command);
  return devices.length === 0 ? {} : { droppedDevices: devices.length };
}

/** A folder is copied; a file, an address and HOST:PATH are casync's. Throws USAGE for anything else. */
function sourceOf({ source, stores, casync }: ImportRequest): ImageSource {
  const stat = system(source, () => statSync(source, { throwIfNoEntry: false }));
  if (stat?.isDirectory()) {
    if (stores !== undefined || casync !== undefined)
      throw new BerthError("USAGE", `${source} is a folder: stores and options of casync are for an index (.caidx)`);
    return { kind: "directory", location: system(source, () => realpathSync(source)) };
  }
  if (stores !== undefined && stores.filter(isRemote).length > 1)
    throw new BerthError("USAGE", "casync can fetch from one store; copy what is in the others to a folder");
  if (stat?.isFile()) return { kind: "casync", location: resolve(source) };
  if (stat === undefined && isRemote(source)) return { kind: "casync", location: source };
  throw new BerthError(
    "USAGE",
    `${source} is no folder and no casync index; name a folder, INDEX.caidx, an address of one, or HOST:PATH`,
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

/** Lets signals and timers have their turn, some fifty times a second. */
function pauseFor(signal: AbortSignal | undefined): Pause {
  let last = performance.now();
  return async () => {
    if (signal?.aborted) throw abortError(signal);
    if (performance.now() - last < 20) return;
    await setImmediate();
    last = performance.now();
  };
}
