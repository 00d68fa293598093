/**
 * The environment of another process (proc_pid_environ(5)). To read it the kernel waits while the process executes a
 * program, which it can make last for ever (exec_update_lock): a thread waits, for a limited time.
 */
import { check } from "../../errors.ts";
import type { Native } from "../../native.ts";

/** More of an environment is not looked at. */
const bytes: Buffer = Buffer.allocUnsafeSlow(1 << 20);

/**
 * Its variables, as `NAME=value`: what it says of itself, so no more than a hint. Throws SYSTEM_ERROR: it has exited,
 * is another user's, or waits.
 */
export function environmentOf(pid: number, milliseconds: number, sys: Pick<Native, "readProc">): readonly string[] {
  const path = `/proc/${pid}/environ`;
  return bytes.toString("latin1", 0, check("read", sys.readProc(path, bytes, milliseconds), path)).split("\0");
}
