/** Gives a berth whose server runs to one caller, or places on one to several, until that server ends. */
import { randomBytes } from "node:crypto";
import type { Etcd } from "../../etcd/etcd.ts";
import type { Change } from "../../etcd/messages.ts";
import { Fault } from "../../fault.ts";
import type { Keys } from "../../model/keys.ts";
import type { Allocation, Placement, Places } from "../../model/placement.ts";
import { eventChange, pruneSometimes } from "../events.ts";
import { type Candidate, readCandidates, type Wish } from "./candidates.ts";

export interface AllocateOptions {
  /** Labels that the berth's host must have. */
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * So many players must have room. The berth may be given to others too, while it has free places; ours are kept for
   * a minute. Undefined: the berth is nobody else's.
   */
  readonly players?: number | undefined;
  /** With `players`: only berths that nobody has, or only those that are shared already. */
  readonly from?: Wish["from"];
}

export interface Allocated extends Placement {
  /** What players connect to, the first one preferred. */
  readonly addresses: readonly string[];
  /** Places that are left for others. Absent: the berth is nobody else's. */
  readonly free?: number;
}

/** Reads of all candidates. Each further one means that others got all that were ready. */
const MOST_READS = 20;
/** For how long places are kept for players who are on their way. */
const PLACES_SECONDS = 60;

/**
 * One transaction: the berth is still where it was, its report is the same, and nobody has got it or places on it
 * since. Throws NONE_READY, with the reason.
 */
export async function allocate(
  etcd: Etcd,
  keys: Keys,
  set: string,
  { labels = {}, players, from = "any" }: AllocateOptions = {},
): Promise<Allocated> {
  let lease: bigint | undefined;
  for (let reads = 0; reads < MOST_READS; reads++) {
    const candidates = await readCandidates(etcd, keys, { set, labels, players, from });
    if (players !== undefined) lease ??= await etcd.grant(PLACES_SECONDS);
    for (const one of inOrder(candidates)) {
      if (!(await take(etcd, keys, one, players, lease))) continue;
      await pruneSometimes(etcd, keys);
      const { placed, addresses, free = 0 } = one;
      return { ...placed, addresses, ...(players !== undefined && { free: free - players }) };
    }
  }
  throw new Fault("CONTENDED", `others got every berth of ${set} that was ready, ${MOST_READS} times; try again`);
}

/** Ends an allocation before its server ends. Throws NO_SUCH_ALLOCATION. */
export async function release(etcd: Etcd, keys: Keys, berth: string): Promise<void> {
  const key = keys.of({ kind: "allocation", berth });
  const { done } = await etcd.commit(
    [{ key, present: true }],
    [{ remove: { key } }, eventChange(keys, "released", { berth })],
  );
  if (!done) throw new Fault("NO_SUCH_ALLOCATION", `${berth} is not allocated; to see all: berth-fleet ls`);
  await pruneSometimes(etcd, keys);
}

/** False: somebody else was first. An allocation that is written again has another revision: so places fence, too. */
async function take(
  etcd: Etcd,
  keys: Keys,
  { placed, server, revisions }: Candidate,
  players: number | undefined,
  lease: bigint | undefined,
): Promise<boolean> {
  const { berth, host, generation, set } = placed;
  const key = keys.of({ kind: "allocation", berth });
  const value: Allocation = { berth, generation, server, ...(players !== undefined && { shared: true }) };
  const [ofPlacement, ofReport, ofAllocation] = revisions;
  const { done } = await etcd.commit(
    [
      { key: keys.of({ kind: "placement", berth }), revision: ofPlacement },
      { key: keys.of({ kind: "state", host, berth }), revision: ofReport },
      { key, revision: ofAllocation },
    ],
    [
      { put: key, value: JSON.stringify(value) },
      ...placesOf(keys, { berth, server, players: players ?? 0 }, lease),
      eventChange(keys, "allocated", { set, berth, generation, host }),
    ],
  );
  return done;
}

function placesOf(keys: Keys, places: Places, lease: bigint | undefined): Change[] {
  if (lease === undefined) return [];
  const id = randomBytes(8).toString("hex");
  return [{ put: keys.of({ kind: "places", berth: places.berth, id }), value: JSON.stringify(places), lease }];
}

/**
 * Shared ones first, the fullest before the others: so few servers are full, and the others can be stopped. Otherwise
 * at random: those who allocate at the same time seldom want the same berth.
 */
function inOrder(all: readonly Candidate[]): Candidate[] {
  return all
    .map((one) => ({ one, at: one.isShared ? (one.free ?? 0) - Number.MAX_SAFE_INTEGER : Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ one }) => one);
}
