/**
 * Device nodes of a tree. A tenant that attaches its root in a user namespace of its own owns that mount and can take
 * `nodev` off it (proven by test/rootfs/roots/roots.test.ts), and the ids of its range own the image's files: it can open every
 * device that stands in the image. So an imported image has none but the harmless ones. Trees are only looked at here,
 * but for what {@link removeDevices} is given.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, unlinkSync } from "node:fs";
import { BerthError } from "../../errors.ts";
import { system } from "../disk/durable.ts";
import type { Pause } from "../disk/tree-walk.ts";
import { type CommandOptions, runCommand } from "./run-command.ts";

export interface DeviceNode {
  /** Relative to the tree, latin1 as in a {@link TreeEntry}. */
  readonly path: string;
  readonly kind: "block" | "character";
  /** `8:0`. */
  readonly number: string;
}

/**
 * Character devices that give nobody anything they do not have already; the numbers are those of Linux,
 * Documentation/admin-guide/devices.txt. Not among them, though many trees have it: the console (5:1), and the virtual
 * terminals (4:N). Those are the host's, whatever is typed there can be read, and whatever is written there is seen.
 */
const HARMLESS: ReadonlySet<string> = new Set([
  "0:0", // overlayfs's mark of a removed file, no device; since Linux 5.8 mknod(2) makes it for everybody
  "1:3", // null
  "1:5", // zero
  "1:7", // full
  "1:8", // random
  "1:9", // urandom
  "5:0", // tty: whoever opens it gets the terminal that it has
  "5:2", // ptmx: since Linux 4.7 of the devpts that is mounted beside it, and nothing without one
]);

/** How many of them an error names. */
const NAMED = 3;

/** Every device node but the harmless ones, in the order of their names' bytes. Enters no other file system. */
export async function findDevices(tree: string, pause: Pause): Promise<DeviceNode[]> {
  const root = Buffer.from(tree);
  const device = system(tree, () => lstatSync(root)).dev;
  const found: DeviceNode[] = [];
  const folders: Buffer[] = [Buffer.alloc(0)];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    await pause();
    const at = below(root, folder);
    if (system(String(at), () => lstatSync(at)).dev !== device) continue;
    for (const entry of system(String(at), () => readdirSync(at, { withFileTypes: true, encoding: "buffer" }))) {
      const path = below(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isBlockDevice() || entry.isCharacterDevice()) {
        const kind = entry.isBlockDevice() ? "block" : "character";
        const number = numberOf(system(String(path), () => lstatSync(below(root, path))).rdev);
        if (kind === "block" || !HARMLESS.has(number)) found.push({ path: path.toString("latin1"), kind, number });
      }
    }
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Why a tree is not imported. */
export function hasDevices(tree: string, devices: readonly DeviceNode[]): BerthError {
  const named = devices.slice(0, NAMED).map(({ path, kind, number }) => `${nameOf(path)} (${kind} ${number})`);
  const more = devices.length - named.length;
  return new BerthError(
    "IMPORT_FAILED",
    `${tree} has ${devices.length === 1 ? "a device node" : `${devices.length} device nodes`}: ${named.join(", ")}` +
      `${more > 0 ? ` and ${more} more` : ""}; who has a root of it could open such a device of this host. ` +
      "Import it without them (--drop-devices), or remove them first; nothing was imported",
  );
}

/**
 * Removes them, and nobody sees that they were there: folders keep their times to the nanosecond. That is touch(1)'s to
 * do, for Node has times as floating-point seconds.
 */
export async function removeDevices(
  tree: string,
  devices: readonly DeviceNode[],
  { signal }: CommandOptions,
): Promise<void> {
  const folders = new Map<string, string[]>();
  for (const { path } of devices) {
    const folder = path.slice(0, Math.max(path.lastIndexOf("/"), 0));
    const paths = folders.get(folder);
    if (paths === undefined) folders.set(folder, [path]);
    else paths.push(path);
  }
  for (const [folder, paths] of folders) {
    const at = below(Buffer.from(tree), Buffer.from(folder, "latin1"));
    const fd = system(String(at), () => openSync(at, constants.O_RDONLY | constants.O_DIRECTORY));
    try {
      const { mtimeNs } = system(String(at), () => fstatSync(fd, { bigint: true }));
      for (const path of paths) {
        const node = below(Buffer.from(tree), Buffer.from(path, "latin1"));
        system(String(node), () => unlinkSync(node));
      }
      // By descriptor: a folder's name need not be text.
      await runCommand(["touch", "--no-create", `--date=@${secondsOf(mtimeNs)}`, "/proc/self/fd/3"], {
        inherit: fd,
        ...(signal !== undefined && { signal }),
      });
    } finally {
      closeSync(fd);
    }
  }
}

function below(folder: Buffer, name: Buffer): Buffer {
  if (folder.length === 0) return name;
  return name.length === 0 ? folder : Buffer.concat([folder, SLASH, name]);
}

/** st_rdev as makedev(3) makes it: of twelve bits of major and twenty of minor numbers, which is all that Linux has. */
function numberOf(device: number): string {
  return `${(device >>> 8) & 0xfff}:${(device & 0xff) | ((device >>> 12) & 0xfff00)}`;
}

function nameOf(path: string): string {
  return Buffer.from(path, "latin1").toString();
}

/** `-0.500000000`. */
function secondsOf(nanoseconds: bigint): string {
  const size = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  return `${nanoseconds < 0n ? "-" : ""}${size / BILLION}.${String(size % BILLION).padStart(9, "0")}`;
}

const SLASH = Buffer.from("/");
const BILLION = 1_000_000_000n;
