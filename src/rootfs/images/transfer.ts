/**
 * Moves a version of an image between hosts as a tar archive: its manifest, then its tree. The same tree gives the same
 * bytes on any host, but for the manifest. An import takes nothing on trust: it computes the digest of the tree anew.
 */
import { constants, lstatSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BerthError } from "../../errors.ts";
import { type Native, native } from "../../native.ts";
import { system, writeDurably } from "../disk/durable.ts";
import { filesOf, kindOf, type OpenTree, openTree } from "../disk/open-tree.ts";
import { type Pause, pauseFor } from "../disk/pause.ts";
import { sharedFile } from "../disk/shared-file.ts";
import { digestTree } from "../disk/tree-digest.ts";
import { findDevices, hasDevices } from "./devices.ts";
import type { Images } from "./images.ts";
import { decodeManifest, encodeManifest, type Manifest } from "./manifest.ts";
import { runCommand } from "./run-command.ts";
import { Staging } from "./staging.ts";
import { KEEP, SAME } from "./tar-options.ts";

/** Which version. Both are valid names. */
export interface VersionName {
  readonly name: string;
  readonly version: string;
}

const MEMBERS = ["manifest.json", "tree"] as const;
const MAX_MANIFEST_BYTES = 65_536;

/** Passes the archive on part by part. Throws IMAGE_ABSENT, IMPORT_FAILED, or what `onOutput` throws. */
export async function exportVersion(
  images: Images,
  { name, version }: VersionName,
  onOutput: (bytes: Buffer) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const found = images.resolve(`${name}@${version}`);
  if ("problem" in found) throw new BerthError("IMAGE_ABSENT", found.problem);
  using lock = images.hold(found);
  const how = ["tar", "--create", ...KEEP, ...SAME, "--one-file-system", "--file", "-"] as const;
  const options = { signal, onOutput, inherit: lock.fd };
  await runCommand([...how, "--directory", dirname(found.tree), "--", ...MEMBERS], options);
}

/** A version, and what its tree must be. Undefined: anything. */
export interface WantedVersion extends VersionName {
  readonly digest?: string | undefined;
  /** Bytes in regular files, at most. Holes count: they take no room in the archive, and time to be read. */
  readonly maxBytes?: number | undefined;
}

/**
 * Imports such an archive. The version becomes the current one only if the image has no other: an agent of a fleet must
 * not change what other berths get. Throws IMAGE_IN_USE if it is there, IMPORT_FAILED, or what `input` throws. Then
 * nothing has changed.
 */
export async function importVersion(
  images: Images,
  { name, version, digest, maxBytes }: WantedVersion,
  input: AsyncIterable<Buffer>,
  signal: AbortSignal,
  sys: Native = native,
): Promise<Manifest> {
  images.mustBeFree(name, version);
  using staging = Staging.open(images.folder, sys);
  try {
    await staging.tidy();
    const finished = join(staging.folder, "version");
    system(finished, () => mkdirSync(finished, { mode: 0o700 }));
    const command = { signal, inherit: staging.lock };
    const how = ["tar", "--extract", ...KEEP, "--same-permissions", "--same-owner", "--file", "-"] as const;
    await runCommand([...how, "--directory", finished, "--", ...MEMBERS], { ...command, input });
    const told = manifestIn(finished);
    if (digest !== undefined && told.digest !== digest)
      throw unusable(`its manifest has the digest ${told.digest}; ${digest} is wanted`);
    const tree = join(finished, "tree");
    if (!lstatSync(tree).isDirectory()) throw unusable("tree in it is no folder");
    using opened = openTree(tree, sys);
    const pause = pauseFor(signal);
    const devices = await findDevices(opened, sys, pause);
    if (devices.length > 0) throw hasDevices(`${name}@${version}`, devices);
    const shared = await sharedFile(opened, sys, pause);
    if (shared !== undefined) throw unusable(`${shared} in it is the same file as one outside of tree`);
    if (maxBytes !== undefined && (await hasMore(opened, BigInt(maxBytes), sys, pause)))
      throw unusable(`its files have more than ${maxBytes} bytes`);
    const summary = await digestTree(opened, sys, pause, () => undefined);
    if (summary.digest !== told.digest) throw unusable(`its tree has the digest ${summary.digest}, not ${told.digest}`);
    await runCommand(["sync", "--file-system", tree], command);
    const manifest: Manifest = { ...told, ...summary, name, version, imported: new Date().toISOString() };
    writeDurably(join(finished, "manifest.json"), encodeManifest(manifest));
    images.publish(finished, manifest, false);
    return manifest;
  } finally {
    // The next import removes what is left then.
    await staging.clear().catch(() => undefined);
  }
}

/** Whether the regular files have more bytes than that. A file with several names counts once. */
async function hasMore(tree: OpenTree, bytes: bigint, sys: Native, pause: Pause): Promise<boolean> {
  const counted = new Set<bigint>();
  let left = bytes;
  for await (const { stat } of filesOf(tree, sys, pause)) {
    if (kindOf(stat) !== constants.S_IFREG || counted.has(stat.ino)) continue;
    if (stat.nlink > 1n) counted.add(stat.ino);
    left -= stat.size;
    if (left < 0n) return true;
  }
  return false;
}

function manifestIn(folder: string): Manifest {
  const path = join(folder, "manifest.json");
  const stat = lstatSync(path);
  // A link in the archive may lead anywhere.
  if (!stat.isFile() || stat.size > MAX_MANIFEST_BYTES) throw unusable("its manifest is no file, or too long");
  return decodeManifest("manifest.json of the archive", readFileSync(path, "utf8"));
}

function unusable(why: string): BerthError {
  return new BerthError("IMPORT_FAILED", `the archive of the image cannot be imported: ${why}`);
}
