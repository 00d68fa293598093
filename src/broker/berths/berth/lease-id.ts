/** Names for leases. They are random and unique, and no secret. */
import { randomFillSync } from "node:crypto";

const BYTES = 8;

/** To ask for random bytes takes many times as long as to take some of those that were asked for before. */
const pool: Buffer = Buffer.alloc(512 * BYTES);
let used = pool.length;

/** 16 hexadecimal digits. */
export function leaseId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += BYTES;
  return pool.toString("hex", used - BYTES, used);
}
