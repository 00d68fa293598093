/**
 * Locks a folder or file against other processes with flock(2). The kernel frees the lock when the last process that
 * has the descriptor ends.
 */
import { constants, openSync } from "node:fs";
import { constants as os } from "node:os";
import { BerthError, check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { LOCK_EX, LOCK_SH } from "../../file-constants.ts";
import type { Native } from "../../native.ts";
import { system } from "./durable.ts";

/**
 * Takes the lock without waiting. Undefined when another process has a lock that excludes this one. Any number of
 * shared locks can exist together, but none beside an exclusive lock. `flags` are more flags of open(2).
 */
export function tryLock(
  path: string,
  mode: "shared" | "exclusive",
  sys: Native,
  flags: number = 0,
): FdHandle | undefined {
  // flock(2) refuses O_PATH descriptors. O_RDONLY is enough for both modes.
  const handle = FdHandle.adopt(
    system(path, () => openSync(path, constants.O_RDONLY | flags)),
    sys,
  );
  const result = sys.flock(handle.fd, mode === "shared" ? LOCK_SH : LOCK_EX);
  if (result >= 0) return handle;
  handle.close();
  if (result !== -os.errno.EAGAIN) check("flock", result, path);
  return undefined;
}

const RETRY_INTERVAL_MS = 5;
const LOCK_TIMEOUT_MS = 5000;
const never = new Int32Array(new SharedArrayBuffer(4));

/**
 * Takes an exclusive lock that every process frees within milliseconds. Blocks this thread for at most `timeoutMs`
 * milliseconds, then throws STATE_BUSY.
 */
export function lockBriefly(path: string, sys: Native, timeoutMs: number = LOCK_TIMEOUT_MS): FdHandle {
  for (const end = performance.now() + timeoutMs; ; ) {
    const handle = tryLock(path, "exclusive", sys);
    if (handle !== undefined) return handle;
    if (performance.now() >= end) {
      throw new BerthError(
        "STATE_BUSY",
        `another process has locked ${path} for ${timeoutMs / 1000} s; find it with \`fuser ${path}\`, then try again`,
      );
    }
    Atomics.wait(never, 0, 0, RETRY_INTERVAL_MS);
  }
}
