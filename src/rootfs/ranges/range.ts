/** A range of user and group ids, and which ranges there can be. Pure: it knows nothing of who has which. */
import { MAX_RANGE_BASE, MAX_RANGE_ID, RANGE_SIZE } from "../../accounts.ts";
import { BerthError } from "../../errors.ts";

/** Consecutive ids of users and groups: the id N inside is `base` + N on the host. */
export interface Range {
  readonly base: number;
  readonly count: number;
}

/** Where ranges are taken from: ids from `first` to `last`. */
export interface Pool {
  readonly first: number;
  readonly last: number;
}

/** The ids that systemd sets apart for containers (https://systemd.io/UIDS-GIDS/): 28,672 − 8 ranges. */
export const CONTAINER_POOL: Pool = { first: 524_288, last: 1_879_048_191 };

/** The range that begins at `base`. */
export function rangeAt(base: number): Range {
  return { base, count: RANGE_SIZE };
}

/** The last id of a range. */
export function lastOf({ base, count }: Range): number {
  return base + count - 1;
}

/** What {@link isRangeBase} accepts, for messages. */
export const BASE_RULE: string = `a range begins at a multiple of ${RANGE_SIZE}, from ${RANGE_SIZE} to ${MAX_RANGE_BASE}`;

/** `FIRST-LAST`, decimal or hexadecimal, as a pool. Throws USAGE when no range fits in it. */
export function parsePool(text: string): Pool {
  const [, first = Number.NaN, last = Number.NaN] =
    /^(\d+|0x[\da-f]+)-(\d+|0x[\da-f]+)$/i.exec(text)?.map(Number) ?? [];
  const [base] = basesOf({ first, last });
  if (base !== undefined && first <= MAX_RANGE_ID && last <= MAX_RANGE_ID) return { first, last };
  throw new BerthError(
    "USAGE",
    `"${text}" has no room for a range; write FIRST-LAST, as ${CONTAINER_POOL.first}-${CONTAINER_POOL.last}: ${BASE_RULE}`,
  );
}

/** Every base in a pool, from `start` on and then from its beginning. */
export function* basesOf({ first, last }: Pool, start: number = first): Generator<number> {
  const lowest = Math.max(Math.ceil(first / RANGE_SIZE) * RANGE_SIZE, RANGE_SIZE);
  const from = Math.max(Math.ceil(start / RANGE_SIZE) * RANGE_SIZE, lowest);
  for (let base = from; base + RANGE_SIZE - 1 <= last; base += RANGE_SIZE) yield base;
  for (let base = lowest; base < from && base + RANGE_SIZE - 1 <= last; base += RANGE_SIZE) yield base;
}
