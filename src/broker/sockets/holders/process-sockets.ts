/**
 * The sockets among the descriptors of another process. To read its links in /proc/PID/fd the kernel waits while it
 * executes a program, which it can make last for ever (exec_update_lock): a thread waits, for a limited time.
 */
import { check } from "../../../errors.ts";
import { native } from "../../../native.ts";

/** It takes microseconds. With so little, a process that waits for ever holds nobody up that one could notice. */
const LOOK_MS = 100;
/** Some fifty thousand sockets. More would let a process decide how long a search takes. */
const bytes: Buffer = Buffer.allocUnsafeSlow(1 << 20);

/** The inode of each socket by its number there. Throws SYSTEM_ERROR: it has exited, is another user's, or waits. */
export function socketsOf(pid: number, milliseconds: number = LOOK_MS): ReadonlyMap<number, bigint> {
  const size = check("readlink", native.readSockets(pid, bytes, milliseconds), `/proc/${pid}/fd`);
  const lines = bytes.toString("latin1", 0, size).matchAll(/^(\d+) socket:\[(\d+)\]$/gm);
  return new Map(Array.from(lines, ([, number, inode]) => [Number(number), BigInt(inode ?? 0)] as const));
}

/** As {@link socketsOf}; none where it throws. */
export function knownSocketsOf(pid: number, milliseconds: number = LOOK_MS): ReadonlyMap<number, bigint> {
  try {
    return socketsOf(pid, milliseconds);
  } catch {
    return new Map();
  }
}
