/**
 * Challenges without memory of who asked: each is a keyed hash of the asker's address and the time. Somebody who forges
 * an address does not get what is sent there, so does not learn the challenge.
 */
import { createHmac } from "node:crypto";
import type { Challenge } from "./protocol.ts";

/** A challenge is valid from the start of one such period to the end of the next one. */
const PERIOD_MS = 30_000;
const LEAST_SECRET = 16;

export class Challenges {
  readonly #secret: Uint8Array;

  /** `secret`: at least 16 random bytes, which nobody else knows. Throws RangeError if it is shorter. */
  constructor(secret: Uint8Array) {
    if (secret.length < LEAST_SECRET) throw new RangeError(`a secret has at least ${LEAST_SECRET} bytes`);
    this.#secret = Uint8Array.from(secret);
  }

  /** `asker`: address and port in one notation. `now`: milliseconds of any clock that only goes forward. */
  for(asker: string, now: number): Challenge {
    const period = Math.floor(now / PERIOD_MS);
    const value = this.#hash(asker, period);
    return { value, met: (shown) => shown === value || shown === this.#hash(asker, period - 1) };
  }

  #hash(asker: string, period: number): number {
    const value = createHmac("sha256", this.#secret).update(`${period} ${asker}`).digest().readUInt32BE();
    // Clients send these two when they have no challenge yet.
    return value === 0 || value === 0xffffffff ? 1 : value;
  }
}
