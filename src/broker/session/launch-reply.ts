/** The reply to a Launch that was granted: the plan, the berth's descriptors, and what the launcher needs itself. */
import { BerthError, isScarcity } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import { MAX_FDS, type Native } from "../../native.ts";
import type { Range } from "../../rootfs/ranges/range.ts";
import { makeRootEntry, type RootEntry } from "../../rootfs/roots/root-entry.ts";
import type { BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import { type Answer, answer, invalidParameter } from "../../varlink/service.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Granted, Refusal } from "../berths/request.ts";
import type { ConsoleSockets } from "../sockets/control/console-sockets.ts";
import { type LaunchRequest, makePlan, PLAN_INDEX, sealPlan } from "./launch.ts";

/** What else a launch is made of. */
export interface LaunchParts {
  readonly sys: Native;
  readonly consoles: ConsoleSockets;
  /** The server's NOTIFY_SOCKET, where systemd did not start it. */
  readonly notify: string | undefined;
}

/** The reply to a granted launch. Descriptors made for it are added to `made`; the caller closes them. */
export function launchReply(
  { berth, lease }: Granted,
  request: LaunchRequest,
  uid: number,
  made: FdHandle[],
  { sys, consoles, notify }: LaunchParts,
): Answer | Refusal {
  const keep = <T extends readonly FdHandle[]>(...handles: T): T => {
    made.push(...handles);
    return handles;
  };
  const entry = entryOf(berth, uid, sys);
  if (entry !== undefined && "kind" in entry) return entry;
  const entered = entry === undefined ? [] : keep(entry.userns, ...entry.mounts.map(({ mount }) => mount));
  const opened = berth.spec.server.console ? consoleOf(consoles, lease.id, uid) : undefined;
  if (opened !== undefined && "kind" in opened) return opened;
  const console = opened === undefined ? [] : keep(opened);
  if (1 + berth.size + entered.length + console.length > MAX_FDS) {
    return {
      kind: "limit",
      limit: "descriptors",
      message: `no message can carry all descriptors of ${berth.name}; remove binds`,
    };
  }
  const plan = makePlan(berth, lease.id, request, notify, entry);
  if (!Buffer.isBuffer(plan)) return invalidParameter(plan.parameter, plan.message);
  const [memfd] = keep(sealPlan(plan, sys));
  const root = berth.root === undefined ? undefined : keep(berth.root.lend())[0];
  const reply: BrokerMethods["Launch"]["reply"] = { lease: lease.id, plan: PLAN_INDEX, ...rangeOf(berth) };
  const after = [...entered, ...console].map(({ fd }) => fd);
  return { ...answer(reply, berth.borrow(root, [memfd.fd], after)), owned: made };
}

/** The listening socket of its console, or why it cannot have one. */
function consoleOf(consoles: ConsoleSockets, lease: string, uid: number): FdHandle | Refusal {
  try {
    return consoles.open(lease, uid);
  } catch (error) {
    if (!(error instanceof BerthError) || isScarcity(error)) throw error;
    return { kind: "limit", limit: "console", message: error.message };
  }
}

/** What the launcher needs to enter the berth's root, if the server runs with ids of the range; or a refusal. */
function entryOf(berth: Berth, uid: number, sys: Native): RootEntry | Refusal | undefined {
  const { root, spec, name } = berth;
  const { enter, rangeId } = spec.server;
  const refused = (message: string): Refusal => ({ kind: "no-root", berth: name, message });
  if (rangeId === undefined || root === undefined) return undefined;
  if (root.userns !== undefined && rangeId !== 0)
    return refused('a broker without root has one id to give: write server.user = "range", or start berthd as root');
  if (!enter) return root.facts.range === undefined ? refused("it has no range for server.user to be in") : undefined;
  try {
    return makeRootEntry(root, uid, spec.root?.binds ?? [], sys);
  } catch (error) {
    if (!(error instanceof BerthError) || isScarcity(error)) throw error;
    return refused(error.message);
  }
}

export function rangeOf({ root }: Berth): { range?: Range } {
  const range = root?.facts.range;
  return range === undefined ? {} : { range };
}
