/** The parts of a broker that need nothing but its options. None of them opens anything. */
import { systemAccounts } from "../accounts.ts";
import { DraftReader } from "../config/drafts.ts";
import { native } from "../native.ts";
import { DEFAULT_QUOTA, Quota } from "./access/limits/quota.ts";
import { Owners } from "./access/owners.ts";
import { isPrivileged } from "./access/policy.ts";
import { BerthEvents } from "./berths/berth/berth-events.ts";
import { BerthRoots } from "./berths/berth-roots.ts";
import { Berths } from "./berths/berths.ts";
import { emptyQueues } from "./berths/repairs/empty-queues.ts";
import { LostSockets } from "./berths/repairs/lost-sockets.ts";
import { Repairs } from "./berths/repairs/repairs.ts";
import { Shutdowns } from "./berths/repairs/shutdowns.ts";
import { Interceptions } from "./bind/interceptions.ts";
import type { BrokerOptions } from "./broker-options.ts";
import { BrokerCounts } from "./counts/broker-counts.ts";
import { Guard } from "./guard/guard.ts";
import type { Foundation } from "./parts.ts";
import { Locks } from "./restart/locks.ts";
import { awaitRemovals, StoreMirror } from "./restart/store-mirror.ts";
import { ControlSocket } from "./sockets/control/control-socket.ts";

/** What needs nothing but the options. It opens nothing. */
export function layFoundation(options: BrokerOptions): Foundation {
  const { log = () => undefined, store } = options;
  const guard = options.guard ?? new Guard({ sys: options.sys ?? native, log });
  const { keeper } = guard;
  if (store?.settled !== undefined) keeper.othersClosed = store.settled.bind(store);
  const sys = guard.guarded();
  const hasNoLimits = (uid: number): boolean => isPrivileged(uid, process.geteuid?.() ?? 0);
  const owners = new Owners({
    isPrivileged: hasNoLimits,
    ranges: () => berths.list().flatMap(({ range }) => range ?? []),
  });
  const accountOf = (uid: number): number => (hasNoLimits(uid) ? uid : owners.accountOf(uid, performance.now()));
  const quota = new Quota({ ...DEFAULT_QUOTA, ...options.quota }, accountOf);
  const events = new BerthEvents(options.onChange);
  const roots = new BerthRoots(options, log, sys, (name) => {
    const berth = berths.get(name);
    if (berth !== undefined) void emptyQueues(berth, guard, log);
  });
  const awaitClosed = (): void => {
    if (store !== undefined) awaitRemovals(store, log);
    keeper.settle();
  };
  const repairs = new Repairs({ sys, log, guard, events });
  const berths = new Berths({ roots, sys, log, quota, events, repairs, awaitClosed, observers: options.observers });
  const mirror = store && new StoreMirror({ store, sys, log, berths });
  events.record((event, berth) => {
    if (event !== "removed") mirror?.keep(berth);
  });
  const interceptions = new Interceptions({ berths, quota, sys, guard, log, events, store: mirror });
  const control = new ControlSocket(options.socket, options.socketMode ?? 0o666, sys);
  const { config: directories = [], berths: given } = options;
  return {
    options,
    reader: given === undefined ? new DraftReader({ directories, accounts: systemAccounts(sys) }) : undefined,
    sys,
    guard,
    log,
    owners,
    quota,
    counts: new BrokerCounts(),
    events,
    roots,
    repairs,
    shutdowns: new Shutdowns({ berths, repairs, sys, log, events }),
    lostSockets: new LostSockets(repairs),
    berths,
    mirror,
    interceptions,
    control,
    locks: new Locks(sys),
  };
}
