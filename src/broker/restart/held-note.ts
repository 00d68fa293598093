/**
 * The inodes of the sockets a broker holds, in the lock file of its control socket: so the next broker knows them again
 * in the hands of a tenant even if the record of leases is lost. It replaces the text of that file and nothing else.
 */
import { fstatSync, ftruncateSync, readSync, writeSync } from "node:fs";
import { bootId } from "../record/process-identity.ts";

/** Of a longer note nothing is believed. */
const MAX_BYTES = 1 << 20;

/** The inodes that the last broker noted since the machine started. `lock` is the locked file. */
export function readHeldNote(lock: number): ReadonlySet<bigint> {
  const { size } = fstatSync(lock);
  if (size > MAX_BYTES) return new Set();
  const bytes = Buffer.alloc(size);
  const [boot, ...inodes] = bytes
    .toString("latin1", 0, readSync(lock, bytes, 0, size, 0))
    .trim()
    .split(/\s+/);
  return new Set(boot === bootId() ? inodes.filter((text) => /^\d{1,20}$/.test(text)).map(BigInt) : []);
}

/** Throws when the disk is full. */
export function writeHeldNote(lock: number, inodes: readonly bigint[]): void {
  const text = `${bootId()} ${inodes.join(" ")}\n`;
  ftruncateSync(lock, 0);
  writeSync(lock, text, 0, "latin1");
}
