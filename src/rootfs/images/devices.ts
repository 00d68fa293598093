/**
 * Finds and removes device nodes in a tree. A tenant can attach its root in its own user namespace. Then it owns that
 * mount and can remove `nodev` from it (proven by test/rootfs/roots/roots.test.ts). The ids of its range own the
 * image's files, so the tenant can open every device node in the image. For this reason an imported image contains only
 * harmless device nodes. Only {@link removeDevices} changes a tree.
 */
import { closeSync, constants, fstatSync, openSync, unlinkSync } from "node:fs";
import { BerthError } from "../../errors.ts";
import type { Native } from "../../native.ts";
import { system } from "../disk/durable.ts";
import { filesOf, kindOf, type OpenTree } from "../disk/open-tree.ts";
import type { Pause } from "../disk/pause.ts";
import { type CommandOptions, runCommand } from "./run-command.ts";

export interface DeviceNode {
  /** Path relative to the tree, decoded as latin1 as in a {@link TreeEntry}. */
  readonly path: string;
  readonly kind: "block" | "character";
  /** Major and minor number, as `8:0`. */
  readonly number: string;
}

/**
 * Character devices that give a tenant no new access. Linux's Documentation/admin-guide/devices.txt has the numbers.
 * The console (5:1) and the virtual terminals (4:N) are not harmless, though many trees contain them. They belong to
 * the host: a tenant could read what people type there, and write on their screens.
 */
const HARMLESS: ReadonlySet<string> = new Set([
  "0:0", // overlayfs's mark for a removed file, not a device; any user can make one with mknod(2) since Linux 5.8
  "1:3", // null
  "1:5", // zero
  "1:7", // full
  "1:8", // random
  "1:9", // urandom
  "5:0", // tty: a process that opens it gets its own terminal
  "5:2", // ptmx: since Linux 4.7 it uses the devpts mounted beside it, and fails without one
]);

/** The number of device nodes that an error names. */
const MAX_NAMED = 3;

/** Every device node that is not harmless, in the byte order of the names. Enters no other file system. */
export async function findDevices(tree: OpenTree, sys: Native, pause: Pause): Promise<DeviceNode[]> {
  const found: DeviceNode[] = [];
  for await (const { path, stat } of filesOf(tree, sys, pause)) {
    const kind = kindOf(stat);
    if (kind !== constants.S_IFBLK && kind !== constants.S_IFCHR) continue;
    const number = numberOf(Number(stat.rdev));
    if (kind === constants.S_IFCHR && HARMLESS.has(number)) continue;
    found.push({ path: path.toString("latin1"), kind: kind === constants.S_IFBLK ? "block" : "character", number });
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The error for a tree that contains device nodes. */
export function hasDevices(tree: string, devices: readonly DeviceNode[]): BerthError {
  const named = devices.slice(0, MAX_NAMED).map(({ path, kind, number }) => `${nameOf(path)} (${kind} ${number})`);
  const more = devices.length - named.length;
  return new BerthError(
    "IMPORT_FAILED",
    `${tree} has ${devices.length === 1 ? "a device node" : `${devices.length} device nodes`}: ${named.join(", ")}` +
      `${more > 0 ? ` and ${more} more` : ""}; a server with a root of this image could open those devices of the host. ` +
      "Nothing was imported: import again with --drop-devices, which leaves them out, or remove them first",
  );
}

/**
 * Removes the device nodes. Their folders keep their times to the nanosecond. touch(1) sets the times: Node's times are
 * floating-point seconds, which are not exact enough.
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
      // touch gets a descriptor: the folder's name may be bytes that are not text.
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

/** Splits st_rdev as makedev(3) packs it: Linux uses twelve bits for the major number and twenty for the minor. */
function numberOf(device: number): string {
  return `${(device >>> 8) & 0xfff}:${(device & 0xff) | ((device >>> 12) & 0xfff00)}`;
}

function nameOf(path: string): string {
  return Buffer.from(path, "latin1").toString();
}

/** Nanoseconds as seconds, for example `-0.500000000`. */
function secondsOf(nanoseconds: bigint): string {
  const size = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  return `${nanoseconds < 0n ? "-" : ""}${size / BILLION}.${String(size % BILLION).padStart(9, "0")}`;
}

const SLASH = Buffer.from("/");
const BILLION = 1_000_000_000n;
