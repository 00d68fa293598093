/** Copies one file beneath a directory to another name beneath it. The bytes go through threads of the pool. */
import { type BigIntStats, fchmod, constants as files, fstatSync, read, write } from "node:fs";
import { constants } from "node:os";
import { promisify } from "node:util";
import { abortError, SysError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { openBeneath } from "./beneath.ts";
import { explained } from "./content.ts";
import { empty, letGo } from "./large-file.ts";
import type { CopyFileOptions } from "./options.ts";
import { type BeneathPath, shown } from "./path.ts";

const readFd = promisify(read);
const writeFd = promisify(write);
const chmodFd = promisify(fchmod);

const { EISDIR } = constants.errno;
const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = files;

/** Bytes copied between two checks of the signal. */
const COPIED_AT_ONCE = 1 << 20;
const PERMISSIONS = 0o777n;

/** As copyFile of node:fs. A file copied onto itself stays as it is. */
export async function copyWhole(
  sys: Native,
  root: FdHandle,
  from: BeneathPath,
  to: BeneathPath,
  { replace = true, signal }: CopyFileOptions,
): Promise<void> {
  if (signal?.aborted) throw abortError(signal);
  const source = openBeneath(sys, root, from, O_RDONLY);
  let target: FdHandle | undefined;
  try {
    const stat = fstatSync(source.fd, { bigint: true });
    // Before the copy is made: reading would say so too late.
    if (stat.isDirectory()) throw new SysError("read", EISDIR, shown(from));
    const mode = Number(stat.mode & PERMISSIONS);
    target = openBeneath(sys, root, to, O_WRONLY | O_CREAT | (replace ? 0 : O_EXCL), mode);
    if (isSame(stat, fstatSync(target.fd, { bigint: true }))) return;
    await explained(empty(target), to);
    await explained(copyBytes(source, target, signal), to, signal);
    // The umask was applied when the file was made, and a file that existed had a mode of its own.
    await explained(chmodFd(target.fd, mode), to);
  } finally {
    await Promise.all([letGo(source), letGo(target)]);
  }
}

function isSame(one: BigIntStats, other: BigIntStats): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

async function copyBytes(source: FdHandle, target: FdHandle, signal: AbortSignal | undefined): Promise<void> {
  const bytes = Buffer.allocUnsafe(COPIED_AT_ONCE);
  for (;;) {
    const { bytesRead } = await readFd(source.fd, bytes, 0, bytes.length, null);
    if (signal?.aborted) throw abortError(signal);
    if (bytesRead === 0) return;
    for (let written = 0; written < bytesRead; ) {
      written += (await writeFd(target.fd, bytes, written, bytesRead - written, null)).bytesWritten;
    }
    if (signal?.aborted) throw abortError(signal);
  }
}
