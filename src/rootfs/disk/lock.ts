/** flock(2) on a folder or file: between processes, given up by the kernel when they end. It never waits for long. */
import { constants, openSync } from "node:fs";
import { constants as os } from "node:os";
import { BerthError, check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { LOCK_EX, LOCK_SH, type Native } from "../../native.ts";
import { system } from "./durable.ts";

/** The lock, or undefined when others have it. `mode` shared: as many as like, but no exclusive one beside them. */
export function tryLock(path: string, mode: "shared" | "exclusive", sys: Native): FdHandle | undefined {
  // Not O_PATH, which cannot be locked; read-only is enough for both modes.
  const handle = FdHandle.adopt(
    system(path, () => openSync(path, constants.O_RDONLY)),
    sys,
  );
  const result = sys.flock(handle.fd, mode === "shared" ? LOCK_SH : LOCK_EX);
  if (result >= 0) return handle;
  handle.close();
  if (result !== -os.errno.EAGAIN) check("flock", result, path);
  return undefined;
}

const RETRY_MS = 5;
const never = new Int32Array(new SharedArrayBuffer(4));

/**
 * The exclusive lock of something that everybody gives up within milliseconds. Blocks this thread, for `patience`
 * milliseconds at most; then throws STATE_BUSY.
 */
export function lockBriefly(path: string, sys: Native, patience: number = 5000): FdHandle {
  for (const end = performance.now() + patience; ; ) {
    const handle = tryLock(path, "exclusive", sys);
    if (handle !== undefined) return handle;
    if (performance.now() >= end) {
      throw new BerthError(
        "STATE_BUSY",
        `${path} has been locked by another process for ${patience / 1000} s; see who with \`fuser ${path}\`, and try again`,
      );
    }
    Atomics.wait(never, 0, 0, RETRY_MS);
  }
}
