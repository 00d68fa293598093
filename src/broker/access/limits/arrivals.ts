/** How often each user may connect: a token bucket for each. Pure: time is a parameter. */
import { ARRIVALS } from "./limits.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Users to remember. Beyond that, those who came long ago are forgotten first. */
const MAX_USERS = 4096;

export class Arrivals {
  readonly #buckets = new Map<number, TokenBucket>();

  /** Whether one more connection of the user may come now. */
  admit(account: number, now: number): boolean {
    const bucket = this.#buckets.get(account) ?? new TokenBucket(ARRIVALS, now);
    this.#remember(account, bucket);
    return bucket.take(now);
  }

  /** Keeps the buckets in the order in which they were used. */
  #remember(account: number, bucket: TokenBucket): void {
    this.#buckets.delete(account);
    this.#buckets.set(account, bucket);
    if (this.#buckets.size <= MAX_USERS) return;
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest);
      return;
    }
  }
}
