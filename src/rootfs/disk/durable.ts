/**
 * Files that are there whole or not at all, whenever the process or the machine stops: written beside their place,
 * flushed, and moved there. Who may write at a time is the caller's to settle: it holds a lock.
 */
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { SysError } from "../../errors.ts";

/** Replaces a file's text; on disk before it returns. Throws SYSTEM_ERROR, and then the old text stands. */
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

/** rename(2), on disk before it returns. Both in the same folder. */
export function moveDurably(from: string, to: string): void {
  system(to, () => renameSync(from, to));
  syncFolder(dirname(to));
}

/** Flushes what a folder contains: names, not what stands behind them (fsync(2)). */
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

/** What Node throws for a system call that failed, as a {@link SysError}. */
export function system<Result>(path: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw asSysError(error, path);
  }
}

/** The {@link SysError} of an error of node:fs or node:child_process; any other error as it is. */
export function asSysError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !("errno" in error) || typeof error.errno !== "number") return error;
  const syscall = "syscall" in error && typeof error.syscall === "string" ? error.syscall : "open";
  const where = "path" in error && typeof error.path === "string" ? error.path : path;
  return new SysError(syscall, Math.abs(error.errno), where);
}
