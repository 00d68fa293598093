/** shift-own as a program: run on trees of a test's own, and their owners as they are afterwards. */
import { execFileSync, spawnSync } from "node:child_process";
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { programPath } from "../../src/launcher-path.ts";

export const shiftOwnPath: string = programPath("shift-own");

export interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs shift-own; `wrap` goes in front of its command line, as `["strace", …]`. */
export function shiftOwn(args: readonly string[], wrap: readonly string[] = []): Outcome {
  const [command = "", ...rest] = [...wrap, shiftOwnPath, ...args];
  const { status, signal, stdout, stderr } = spawnSync(command, rest, { encoding: "utf8", maxBuffer: 64 << 20 });
  return { code: status, signal, stdout, stderr };
}

/** Into the range that the examples use. */
export const toRange: readonly string[] = ["-s", "0x30000", "-r", "0x10000"];

/** `uid:gid` of a file, of a symbolic link its own. */
export function ownerOf(path: string): string {
  const { uid, gid } = lstatSync(path);
  return `${uid}:${gid}`;
}

/** The owners of everything below a directory, by path, following no link; "" is the directory itself. */
export function ownersBelow(folder: string): Map<string, string> {
  const owners = new Map([["", ownerOf(folder)]]);
  const enter = (below: string): void => {
    for (const entry of readdirSync(join(folder, below), { withFileTypes: true })) {
      const path = join(below, entry.name);
      owners.set(path, ownerOf(join(folder, path)));
      if (entry.isDirectory()) enter(path);
    }
  };
  enter("");
  return owners;
}

/** The permission bits of a file, setuid and setgid among them, in octal. */
export function modeOf(path: string): string {
  return (lstatSync(path).mode & 0o7777).toString(8);
}

/** The attribute of a file capability (vfs_cap_data, capabilities(7)): CAP_NET_RAW, permitted and effective. */
const netRaw = "0100000200200000000000000000000000000000";

/** Gives a file CAP_NET_RAW; without libcap's tools, which not every machine has. */
export function setCapability(path: string): void {
  python("import os, sys; os.setxattr(sys.argv[1], 'security.capability', bytes.fromhex(sys.argv[2]))", path, netRaw);
}

/** A file's capability in hexadecimal; with `root`, what it is when shifted there: version 3, with that root id. */
export function capabilityOf(path: string, root?: number): string {
  const code = "import os, sys; print(os.getxattr(sys.argv[1], 'security.capability', follow_symlinks=False).hex())";
  const value = Buffer.from(python(code, path).trim(), "hex");
  if (root === undefined) return value.toString("hex");
  const shifted = Buffer.alloc(24);
  value.copy(shifted);
  shifted.writeUInt8(3, 3);
  shifted.writeUInt32LE(root, 20);
  return shifted.toString("hex");
}

/** The output of a line of Python, which has the calls that Node has not. */
export function python(code: string, ...args: readonly string[]): string {
  return execFileSync("python3", ["-c", code, ...args], { encoding: "utf8" });
}

/** Makes `folders` directories with `files` empty files each, quicker than Node does. */
export function makeFiles(root: string, folders: number, files: number): void {
  python(
    `
import os, sys
root, folders, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.makedirs(root, exist_ok=True)
for d in range(folders):
    os.mkdir(f"{root}/{d}")
    for f in range(files): os.mknod(f"{root}/{d}/{f}")`,
    root,
    String(folders),
    String(files),
  );
}
