/** Which berths of a set a caller can have now, and why not the others. */
import type { Etcd } from "../../etcd/etcd.ts";
import type { Entry } from "../../etcd/messages.ts";
import { Fault } from "../../fault.ts";
import { type BerthReport, berthReport } from "../../model/berth-report.ts";
import { hostRecord } from "../../model/host.ts";
import type { Keys } from "../../model/keys.ts";
import { type Allocation, allocation, type Placement, placement, places } from "../../model/placement.ts";
import { readable } from "../view.ts";

export interface Wish {
  readonly set: string;
  /** Labels that the berth's host must have. */
  readonly labels: Readonly<Record<string, string>>;
  /** So many must have room. Undefined: a berth that nobody else has. */
  readonly players: number | undefined;
  /** `ready`: nobody has it. `shared`: others have it already, and it has room. */
  readonly from: "ready" | "shared" | "any";
}

export interface Candidate {
  readonly placed: Placement;
  /** What players connect to, the first one preferred. */
  readonly addresses: readonly string[];
  readonly server: string;
  /** Others have it already, and share it. */
  readonly isShared: boolean;
  /** Places that are neither taken nor kept for somebody; undefined: nobody knows. */
  readonly free: number | undefined;
  /** Revisions of its placement, its report and its allocation; 0: it has none. */
  readonly revisions: readonly [number, number, number];
}

/** Whether the allocation is of the server that the report is about. */
export function isOfServer(one: Allocation, report: BerthReport): boolean {
  return one.berth === report.berth && one.generation === report.generation && one.server === report.server;
}

/** At least one. Throws NONE_READY, with the reason. */
export async function readCandidates(etcd: Etcd, keys: Keys, wish: Wish): Promise<Candidate[]> {
  const { lists } = await etcd.read(
    { prefix: keys.all("placement") },
    { prefix: keys.all("state") },
    { prefix: keys.all("allocation") },
    { prefix: keys.all("host") },
    { prefix: keys.all("places") },
  );
  const [placements, states, allocations, hosts, kept] = lists;
  const stateOf = new Map(states.map((entry) => [entry.key, entry]));
  const allocationOf = new Map(allocations.map((entry) => [keys.nameIn(entry.key), entry]));
  const hostOf = new Map(hosts.map((entry) => [keys.nameIn(entry.key), entry]));
  const coming = playersComing(kept);
  const counts = { allocated: 0, idle: 0, elsewhere: 0, full: 0 };
  const candidates: Candidate[] = [];
  for (const entry of placements) {
    const placed = read(entry, placement);
    if (placed?.set !== wish.set) continue;
    const { berth, host, generation } = placed;
    const state = stateOf.get(keys.of({ kind: "state", host, berth }));
    const report = read(state, berthReport);
    const record = read(hostOf.get(host), hostRecord);
    const former = allocationOf.get(berth);
    const has = read(former, allocation);
    const isTaken = has !== undefined && report !== undefined && isOfServer(has, report);
    if (record === undefined || report?.server === undefined || report.state !== "occupied") counts.idle++;
    else if (report.generation !== generation) counts.idle++;
    else if (Object.entries(wish.labels).some(([name, value]) => record.labels[name] !== value)) counts.elsewhere++;
    else if (isTaken && (wish.players === undefined || !has.shared || wish.from === "ready")) counts.allocated++;
    else {
      const free = freeOf(report, coming);
      if (wish.players !== undefined && (free === undefined || free < wish.players)) counts.full++;
      else if (wish.from !== "shared" || isTaken) {
        const revisions = [entry.revision, state?.revision ?? 0, former?.revision ?? 0] as const;
        const { addresses } = record;
        candidates.push({ placed, addresses, server: report.server, isShared: isTaken, free, revisions });
      }
    }
  }
  if (candidates.length > 0) return candidates;
  const { allocated, idle, elsewhere, full } = counts;
  const others = elsewhere > 0 ? `, ${elsewhere} on hosts without these labels` : "";
  const room = full > 0 ? `, ${full} without ${wish.players} free places or whose servers do not report any` : "";
  throw new Fault(
    "NONE_READY",
    `no berth of ${wish.set} is ready: ${allocated} allocated, ${idle} without a server${others}${room}`,
  );
}

/** Those on their way count, also while they play already: the berth is rather emptier than fuller than this. */
function freeOf({ berth, server, players = 0, max }: BerthReport, coming: ReadonlyMap<string, number>) {
  return max === undefined ? undefined : Math.max(0, max - players - (coming.get(`${berth} ${server}`) ?? 0));
}

/** By berth and server. */
function playersComing(kept: readonly Entry[]): Map<string, number> {
  const coming = new Map<string, number>();
  for (const entry of kept) {
    const one = read(entry, places);
    if (one === undefined) continue;
    const id = `${one.berth} ${one.server}`;
    coming.set(id, (coming.get(id) ?? 0) + one.players);
  }
  return coming;
}

function read<T>(entry: Entry | undefined, reader: (value: unknown, at: string) => T): T | undefined {
  return entry && readable(entry.key, entry.value, reader, () => undefined);
}
