/**
 * Writes files so that a crash leaves the old text or the new text, never a part. The new text goes into a file beside
 * the old one, is flushed to disk, and replaces the old one with rename(2). The caller holds a lock: two writers at the
 * same time would overwrite each other.
 */
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";
import { SysError } from "../../errors.ts";

/** Replaces a file's text. The text is on disk before this returns. After SYSTEM_ERROR the file has its old text. */
export function writeDurably(path: string, text: string): void {
  const next = `${path}.new`;
  system(next, () => {
    const fd = openSync(next, "w", 0o600);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
  moveDurably(next, path);
}

/** Renames with rename(2). The new name is on disk before this returns. */
export function moveDurably(from: string, to: string): void {
  system(to, () => renameSync(from, to));
  syncFolder(dirname(to));
}

/** Flushes the names in a folder to disk, but not the contents of its files (fsync(2)). */
export function syncFolder(path: string): void {
  system(path, () => {
    const fd = openSync(path, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
}

/** Runs `action`. Turns Node's error of a failed system call into a {@link SysError}. */
export function system<Result>(path: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw asSysError(error, path);
  }
}

const { EROFS } = constants.errno;

const READ_ONLY =
  "its file system is read-only: mount it writable, name it in ReadWritePaths= of the unit, or choose another folder";

/** Turns an error of node:fs or node:child_process into a {@link SysError}. Returns any other error unchanged. */
export function asSysError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !("errno" in error) || typeof error.errno !== "number") return error;
  const syscall = "syscall" in error && typeof error.syscall === "string" ? error.syscall : "open";
  const where = "path" in error && typeof error.path === "string" ? error.path : path;
  const errno = Math.abs(error.errno);
  return new SysError(syscall, errno, where, errno === EROFS ? READ_ONLY : undefined);
}
