/** Gives a berth whose server runs to one caller, and to no other until that server ends. */
import type { Etcd } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { type BerthReport, berthReport } from "../model/berth-report.ts";
import { hostRecord } from "../model/host.ts";
import type { Keys } from "../model/keys.ts";
import { type Allocation, allocation, type Placement, placement } from "../model/placement.ts";
import { eventChange, pruneSometimes } from "./events.ts";
import { readable } from "./view.ts";

export interface Allocated extends Placement {
  /** What players connect to, the first one preferred. */
  readonly addresses: readonly string[];
}

interface Candidate {
  readonly allocated: Allocated;
  readonly server: string;
  /** Revisions of its placement, its report and its allocation; 0: it has none. */
  readonly revisions: readonly [number, number, number];
}

/** Reads of all candidates. Each further one means that others got all that were ready. */
const MOST_READS = 20;

/**
 * One transaction: the berth is still where it was, its report is the same, and nobody else has it. Throws NONE_READY,
 * with the reason.
 */
export async function allocate(
  etcd: Etcd,
  keys: Keys,
  set: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<Allocated> {
  for (let reads = 0; reads < MOST_READS; reads++) {
    const candidates = await readCandidates(etcd, keys, set, labels);
    // At random: those who allocate at the same time seldom want the same berth.
    for (const { allocated, server, revisions } of shuffled(candidates)) {
      const { berth, host, generation } = allocated;
      const key = keys.of({ kind: "allocation", berth });
      const value: Allocation = { berth, generation, server };
      const [ofPlacement, ofReport, ofAllocation] = revisions;
      const { done } = await etcd.commit(
        [
          { key: keys.of({ kind: "placement", berth }), revision: ofPlacement },
          { key: keys.of({ kind: "state", host, berth }), revision: ofReport },
          { key, revision: ofAllocation },
        ],
        [{ put: key, value: JSON.stringify(value) }, eventChange(keys, "allocated", { set, berth, generation, host })],
      );
      if (!done) continue;
      await pruneSometimes(etcd, keys);
      return allocated;
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
}

/** Whether the allocation is of the server that the report is about. */
export function isOf(one: Allocation, report: BerthReport): boolean {
  return one.berth === report.berth && one.generation === report.generation && one.server === report.server;
}

/** Berths of the set that are ready. Throws NONE_READY. */
async function readCandidates(
  etcd: Etcd,
  keys: Keys,
  set: string,
  labels: Readonly<Record<string, string>>,
): Promise<Candidate[]> {
  const { lists } = await etcd.read(
    { prefix: keys.all("placement") },
    { prefix: keys.all("state") },
    { prefix: keys.all("allocation") },
    { prefix: keys.all("host") },
  );
  const [placements, states, allocations, hosts] = lists;
  const stateOf = new Map(states.map((entry) => [entry.key, entry]));
  const allocationOf = new Map(allocations.map((entry) => [keys.nameIn(entry.key), entry]));
  const hostOf = new Map(hosts.map((entry) => [keys.nameIn(entry.key), entry]));
  const ignore = (): void => undefined;
  const counts = { allocated: 0, idle: 0, elsewhere: 0 };
  const candidates: Candidate[] = [];
  for (const entry of placements) {
    const placed = readable(entry.key, entry.value, placement, ignore);
    if (placed?.set !== set) continue;
    const { berth, host, generation } = placed;
    const stateKey = keys.of({ kind: "state", host, berth });
    const state = stateOf.get(stateKey);
    const report = state && readable(state.key, state.value, berthReport, ignore);
    const hostEntry = hostOf.get(host);
    const record = hostEntry && readable(hostEntry.key, hostEntry.value, hostRecord, ignore);
    const former = allocationOf.get(berth);
    const has = former && readable(former.key, former.value, allocation, ignore);
    if (record === undefined || report?.server === undefined || report.state !== "occupied") counts.idle++;
    else if (report.generation !== generation) counts.idle++;
    else if (Object.entries(labels).some(([name, value]) => record.labels[name] !== value)) counts.elsewhere++;
    else if (has !== undefined && isOf(has, report)) counts.allocated++;
    else {
      const revisions = [entry.revision, state?.revision ?? 0, former?.revision ?? 0] as const;
      candidates.push({ allocated: { ...placed, addresses: record.addresses }, server: report.server, revisions });
    }
  }
  if (candidates.length > 0) return candidates;
  const { allocated, idle, elsewhere } = counts;
  const others = elsewhere > 0 ? `, ${elsewhere} on hosts without these labels` : "";
  throw new Fault(
    "NONE_READY",
    `no berth of ${set} is ready: ${allocated} allocated, ${idle} without a server${others}`,
  );
}

function shuffled<T>(all: readonly T[]): T[] {
  return all
    .map((one) => ({ one, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ one }) => one);
}
