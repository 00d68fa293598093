/** Reads files of /proc and /sys, most of which are small, with three system calls: every lease waits for some. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

const bytes: Buffer = Buffer.allocUnsafeSlow(4096);

/** The whole file, however long; empty if there is no such file or process. */
export function contentsOf(path: string): string {
  const text = beginningOf(path);
  if (text.length < bytes.length) return text;
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // it has exited meanwhile
  }
}

/** At most `most` bytes; empty if there is no such file or process. It does not ask the file first how long it is. */
export function beginningOf(path: string, most: number = bytes.length): string {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    return bytes.toString("latin1", 0, readSync(file, bytes, 0, most, 0));
  } catch {
    return ""; // it has exited, or there is no such file
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
