/**
 * Locks ranges against systemd-nspawn, with nspawn's own lock files. With -U, nspawn picks a range: the image's owner,
 * else a hash of the machine's name, else a random one. It takes an exclusive lock on /run/systemd/nspawn-uid/BASE,
 * without waiting, and holds it while the container runs. It skips a base that is locked, or that getpwuid(3) or
 * getgrgid(3) know (uid_shift_pick() in src/nspawn/nspawn.c of systemd). So our lock keeps nspawn off a range. Our
 * locks are shared, because during a takeover two brokers hold the same lock. Nothing here waits for nspawn.
 */
import { constants, fstatSync, mkdirSync, openSync, unlinkSync } from "node:fs";
import { constants as os } from "node:os";
import { join } from "node:path";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { F_RDLCK, F_WRLCK } from "../../file-constants.ts";
import type { Native } from "../../native.ts";
import { system } from "../disk/durable.ts";

/** The result of locking a base. `absent`: this host has no systemd, or berthd may not write its lock files. */
export type NspawnLock = FdHandle | "taken" | "absent";

const { O_CREAT, O_RDWR, O_NOFOLLOW } = constants;
const { EACCES, EAGAIN, ENOENT, EPERM, EROFS } = os.errno;

/**
 * Takes a shared lock on a base. No container runs on a locked range, and none can start. With `alone`, it also fails
 * when another process has any lock on the base, such as a broker with another state folder.
 */
export function lockNspawn(folder: string, base: number, alone: boolean, sys: Native): NspawnLock {
  const path = join(folder, String(base));
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (error) {
    if (isErrno(error, ENOENT, EACCES, EPERM, EROFS)) return "absent";
  }
  // The last holder may remove the file while we open it. Then our lock is on a file without a name: try again.
  for (;;) {
    const handle = open(path, sys);
    if (handle === undefined) return "absent";
    const result = sys.recordLock(handle.fd, alone ? F_WRLCK : F_RDLCK);
    if (result >= 0 && system(path, () => fstatSync(handle.fd)).nlink > 0) {
      if (alone) check("fcntl F_OFD_SETLK", sys.recordLock(handle.fd, F_RDLCK), path);
      return handle;
    }
    handle.close();
    if (result === -EAGAIN || result === -EACCES) return "taken";
    check("fcntl F_OFD_SETLK", result, path);
  }
}

/** Frees a lock as nspawn does: the last holder takes the exclusive lock, then removes the file. */
export function unlockNspawn(folder: string, base: number, lock: FdHandle, sys: Native): void {
  if (sys.recordLock(lock.fd, F_WRLCK) >= 0) {
    try {
      unlinkSync(join(folder, String(base)));
    } catch {
      // Somebody has removed the file already.
    }
  }
  lock.close();
}

function open(path: string, sys: Native): FdHandle | undefined {
  try {
    return FdHandle.adopt(openSync(path, O_CREAT | O_RDWR | O_NOFOLLOW, 0o600), sys);
  } catch (error) {
    if (isErrno(error, EACCES, EPERM, EROFS)) return undefined;
    return system(path, () => {
      throw error;
    });
  }
}

function isErrno(error: unknown, ...errnos: readonly number[]): boolean {
  return error instanceof Error && "errno" in error && errnos.some((errno) => error.errno === -errno);
}
