/** How often each user may connect: a token bucket for each. Pure: time is a parameter. */
import { ARRIVALS } from "./limits.ts";

interface Bucket {
  tokens: number;
  /** When `tokens` was right, in milliseconds. */
  at: number;
}

/** Users to remember. Beyond that, those who came long ago are forgotten first. */
const MAX_USERS = 4096;

export class Arrivals {
  readonly #buckets = new Map<number, Bucket>();

  /** Whether one more connection of the user may come now. */
  admit(account: number, now: number): boolean {
    const bucket = this.#buckets.get(account) ?? { tokens: ARRIVALS.burst, at: now };
    bucket.tokens = Math.min(ARRIVALS.burst, bucket.tokens + ((now - bucket.at) * ARRIVALS.perSecond) / 1000);
    bucket.at = now;
    this.#remember(account, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** Keeps the buckets in the order in which they were used. */
  #remember(account: number, bucket: Bucket): void {
    this.#buckets.delete(account);
    this.#buckets.set(account, bucket);
    if (this.#buckets.size <= MAX_USERS) return;
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest);
      return;
    }
  }
}
