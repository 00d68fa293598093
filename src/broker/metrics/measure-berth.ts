/** The measurements of one berth: what was counted of it, and what the kernel tells now. It takes no socket's lock. */
import type { ShownState } from "../../berth-state.ts";
import type { Native } from "../../native.ts";
import { SOL_SOCKET } from "../../net/socket-constants.ts";
import type { ForeignCalls } from "../access/foreign-calls.ts";
import { addressText, type Berth } from "../berths/berth/berth.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import type { AcceptQueue } from "./accept-queues.ts";
import type { FamilyName, Measured } from "./families.ts";
import type { GroupUses } from "./group-use.ts";

const SO_MEMINFO = 55;
// SK_MEMINFO_… (linux/sock_diag.h): which word of it is what.
const RECEIVED = 0;
const RECEIVE_BUFFER = 1;
const DROPPED = 8;
const WORDS = 9;

/** What the berths' listening sockets have, by inode, the calls for the others, and what control groups use. */
export interface BerthMeasuring {
  readonly groupUses: GroupUses;
  readonly sys: Pick<Native, "getsockopt"> & Pick<ForeignCalls, "getsockopt">;
  readonly acceptQueues: ReadonlyMap<number, AcceptQueue>;
}

/** `state` is the berth's, as people read it. Leaves out counters of what its configuration does not do. */
export function measureBerth(berth: Berth, state: ShownState, measuring: BerthMeasuring): Measured[] {
  const all: Measured[] = [];
  const add = (family: FamilyName, value: number | string | undefined, fields?: Measured["fields"]): void => {
    if (value === undefined) return;
    all.push({ family, value, object: berth.name, ...(fields !== undefined && { fields }) });
  };
  const { counts, spec, sockets, stash, lease } = berth;
  add("State", state);
  add("Leases", counts.leases);
  add("Takeovers", counts.takeovers);
  add("Restarts", counts.restarts);
  if (spec.server.start === "on-demand") {
    add("Starts", counts.starts);
    add("StartFailures", counts.startFailures);
    for (const [cause, value] of Object.entries(counts.wakes)) add("Wakes", value, { cause });
  }
  if (spec.server.deliver.includes("bind"))
    for (const [result, value] of Object.entries(counts.binds)) add("Binds", value, { result });
  add("Players", berth.players?.count);
  add("PlayersLimit", berth.players?.max);
  add("HeldDescriptors", sockets.length, { kind: "socket" });
  add("HeldDescriptors", berth.root === undefined ? 0 : 1, { kind: "root" });
  add("HeldDescriptors", stash.size, { kind: "stash" });
  for (const one of sockets) measureSocket(one, measuring, add);
  if (lease?.tenant.cgroup === undefined) return all;
  const { memory, memoryLimit, cpuSeconds } = measuring.groupUses.of(lease.tenant.cgroup);
  add("TenantMemoryBytes", memory);
  add("TenantMemoryLimitBytes", memoryLimit);
  add("TenantCpuSeconds", cpuSeconds);
  return all;
}

function measureSocket(
  one: NamedSocket,
  { sys, acceptQueues }: BerthMeasuring,
  add: (family: FamilyName, value: number, fields: Measured["fields"]) => void,
): void {
  const { name, socket } = one;
  if (!socket.open) return; // it could not be opened again
  const fields = { socket: name, address: addressText(one) };
  if (socket.listen.kind !== "datagram") {
    const queue = acceptQueues.get(Number(socket.inode));
    if (queue === undefined) return; // its tenant has shut it down
    add("AcceptQueue", queue.length, fields);
    add("AcceptQueueLimit", queue.limit, fields);
    return;
  }
  // The memory of what waits in a UNIX socket is its sender's.
  if (socket.listen.address.family === "unix") return;
  const words = new Int32Array(WORDS);
  if (sys.getsockopt(socket.fd, SOL_SOCKET, SO_MEMINFO, words) < 0) return;
  const word = (at: number): number => (words[at] ?? 0) >>> 0;
  add("QueueBytes", word(RECEIVED), fields);
  add("QueueLimitBytes", word(RECEIVE_BUFFER), fields);
  add("Drops", word(DROPPED), fields);
}
