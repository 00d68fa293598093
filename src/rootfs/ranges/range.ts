/** A range of user and group ids, and the rules for valid ranges. Pure. It does not know who has which range. */
import { MAX_RANGE_BASE, MAX_RANGE_ID, RANGE_SIZE } from "../../accounts.ts";
import { BerthError } from "../../errors.ts";

/** Consecutive user and group ids. The id N inside is `base` + N on the host. */
export interface Range {
  readonly base: number;
  readonly count: number;
}

/** The ids that new ranges come from: `first` to `last`. */
export interface Pool {
  readonly first: number;
  readonly last: number;
}

/** The ids that systemd reserves for containers (https://systemd.io/UIDS-GIDS/): 28,672 − 8 ranges. */
export const CONTAINER_POOL: Pool = { first: 524_288, last: 1_879_048_191 };

/** The range that starts at `base`. */
export function rangeAt(base: number): Range {
  return { base, count: RANGE_SIZE };
}

/** The last id of a range. */
export function lastOf({ base, count }: Range): number {
  return base + count - 1;
}

/** What {@link isRangeBase} accepts, for messages. */
export const BASE_RULE: string = `a range starts at a multiple of ${RANGE_SIZE}, from ${RANGE_SIZE} to ${MAX_RANGE_BASE}`;

/** Parses `FIRST-LAST`, decimal or hexadecimal, as a pool. Throws USAGE when no range fits in it. */
export function parsePool(text: string): Pool {
  const [, first = Number.NaN, last = Number.NaN] =
    /^(\d+|0x[\da-f]+)-(\d+|0x[\da-f]+)$/i.exec(text)?.map(Number) ?? [];
  const [base] = basesOf({ first, last });
  if (base !== undefined && first <= MAX_RANGE_ID && last <= MAX_RANGE_ID) return { first, last };
  throw new BerthError(
    "USAGE",
    `no range fits in "${text}"; write FIRST-LAST, for example ${CONTAINER_POOL.first}-${CONTAINER_POOL.last}: ${BASE_RULE}`,
  );
}

/** Every base in a pool: from `start` to the end, then from the beginning to `start`. */
export function* basesOf({ first, last }: Pool, start: number = first): Generator<number> {
  const lowest = Math.max(Math.ceil(first / RANGE_SIZE) * RANGE_SIZE, RANGE_SIZE);
  const from = Math.max(Math.ceil(start / RANGE_SIZE) * RANGE_SIZE, lowest);
  for (let base = from; base + RANGE_SIZE - 1 <= last; base += RANGE_SIZE) yield base;
  for (let base = lowest; base < from && base + RANGE_SIZE - 1 <= last; base += RANGE_SIZE) yield base;
}
