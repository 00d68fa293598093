/**
 * systemd-nspawn's own reservations. With -U it picks a range (the image's owner, else a hash of the machine's name,
 * else at random) and takes an exclusive lock on /run/systemd/nspawn-uid/BASE, without waiting, for as long as the
 * container runs; a base that is locked, or that getpwuid(3) or getgrgid(3) know, it passes over (uid_shift_pick() in
 * src/nspawn/nspawn.c of systemd). So whoever holds a lock there keeps nspawn off; ours are shared, because a broker
 * and its successor have them side by side. It never waits for nspawn.
 */
import { constants, fstatSync, mkdirSync, openSync, unlinkSync } from "node:fs";
import { constants as os } from "node:os";
import { join } from "node:path";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { F_RDLCK, F_WRLCK, type Native } from "../../native.ts";
import { system } from "../disk/durable.ts";

/** What came of trying to lock a base: `absent` where there is no systemd, or we may not take part. */
export type NspawnLock = FdHandle | "taken" | "absent";

const { O_CREAT, O_RDWR, O_NOFOLLOW } = constants;
const { EACCES, EAGAIN, ENOENT, EPERM, EROFS } = os.errno;

/**
 * A shared lock of a base: no container runs there, and none will. `alone`: nor does anybody else have a lock of it,
 * such as a broker with another state folder.
 */
export function lockNspawn(folder: string, base: number, alone: boolean, sys: Native): NspawnLock {
  const path = join(folder, String(base));
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (error) {
    if (isErrno(error, ENOENT, EACCES, EPERM, EROFS)) return "absent";
  }
  // Whoever had it may have removed the file while we opened it: then our lock is of a file that nobody finds.
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

/** Gives a lock up, as nspawn does: the last one to have it removes the file first, while nobody else can have it. */
export function unlockNspawn(folder: string, base: number, lock: FdHandle, sys: Native): void {
  if (sys.recordLock(lock.fd, F_WRLCK) >= 0) {
    try {
      unlinkSync(join(folder, String(base)));
    } catch {
      // Somebody has tidied up /run; without its file the lock is of no use to anybody.
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
