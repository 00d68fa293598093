/**
 * Moves a berth to another host. Its host ends the server and says so; then one transaction gives the berth to the
 * other host, with a higher generation; that host starts a server. If it cannot, the berth goes back. Its files go
 * before the transaction, so a host never starts a server without them.
 */
import type { Etcd } from "../../etcd/etcd.ts";
import type { Condition } from "../../etcd/messages.ts";
import { Fault } from "../../fault.ts";
import { startsOnDemand } from "../../model/berth-file.ts";
import type { Keys } from "../../model/keys.ts";
import type { Placement } from "../../model/placement.ts";
import { decide } from "../../placement/decide.ts";
import { explain } from "../../placement/explain.ts";
import { needOf } from "../../placement/need.ts";
import { commitPlacement, type Terms } from "../commit.ts";
import { hostViews, numberOf, readFleet } from "../view.ts";
import { type Sent, sentText } from "./copied-text.ts";
import { FileCopy } from "./file-copy.ts";
import { HeldBerth } from "./held-berth.ts";
import { placedIn, rootIn, sourceIn, targetEnd, targetIn } from "./target.ts";
import { failureOn, untilHeld } from "./waits.ts";

export interface MoveOptions {
  /** Undefined: the best one. */
  readonly to?: string | undefined;
  /** Seconds until its server is stopped at the latest; 0: at once. Undefined: only when nobody plays. */
  readonly within: number | undefined;
  /** Its files on the host stay there, and the berth begins without them. */
  readonly withoutFiles?: boolean | undefined;
  /** For how long the other host may take to start it. */
  readonly startMs?: number | undefined;
  /** Ends the move. Before the berth is given away its host goes on with it. */
  readonly signal: AbortSignal;
  /** What happens, for people. */
  readonly say: (sentence: string) => void;
}

export interface Moved {
  readonly from: string;
  readonly placement: Placement;
  /** Of a berth that took its files along. */
  readonly sent?: Sent;
  /** From when the first host said that its server had ended, until the other one said that it runs. */
  readonly downMs: number;
}

const MOST_TRIES = 100;

/** Throws NO_SUCH_BERTH, NO_FIT if no other host can have it, and NOT_MOVED if it is on its host again. */
export async function moveBerth(etcd: Etcd, keys: Keys, berth: string, options: MoveOptions): Promise<Moved> {
  const { say, signal, within } = options;
  const view = await readFleet(etcd, keys);
  const former = placedIn(view, berth);
  const { host: from } = former.record;
  const root = options.withoutFiles ? undefined : rootIn(view, former.record);
  const { set, decision } = targetIn(view, former.record, options.to, {
    withFiles: root !== undefined,
    withImages: root !== undefined,
  });
  const ends = root && { from: sourceIn(view, former.record), to: targetEnd(view, decision.host) };
  // Its files go to one host, also if another one becomes better meanwhile.
  await using files =
    root && ends && (await FileCopy.begin(etcd, keys, former, ends.from, ends.to, { root, signal, say }));
  await using held = await HeldBerth.take(etcd, keys, former, within);
  const lost = AbortSignal.any([held.lost, ...(files === undefined ? [] : [files.lost])]);
  const reported = await untilHeld(etcd, keys, former.record, lost, options);
  const ended = performance.now();
  await files?.finish();
  const unchanged = { key: keys.of({ kind: "state", host: from, berth }), revision: reported };
  const terms: Terms = {
    conditions: [held.condition, unchanged, ...(files?.conditions ?? [])],
    ...(files && { changes: files.changes, why: sentText(files.sent) }),
    event: "moved",
  };
  const to = files === undefined ? options.to : decision.host;
  const placement = await give(etcd, keys, former.record, { to, withImages: files !== undefined }, terms);
  const { host } = placement;
  say(`${berth}: has ended on ${from}; ${host} has it now, and starts it`);
  const isOnDemand = startsOnDemand(set.record.berth);
  const failed = await failureOn(etcd, keys, placement, { ...options, isOnDemand });
  const downMs = Math.round(performance.now() - ended);
  if (failed === undefined) return { from, placement, downMs, ...(files && { sent: files.sent }) };
  if (signal.aborted)
    throw new Fault("NOT_MOVED", `${berth} is with ${host}, which starts it; nobody waits for that now`);
  throw new Fault("NOT_MOVED", await giveBack(etcd, keys, placement, from, failed));
}

interface Goal {
  readonly to: string | undefined;
  /** They are there. */
  readonly withImages: boolean;
}

/** Gives the berth to another host. Decides anew for as long as others change what it depends on. */
async function give(etcd: Etcd, keys: Keys, former: Placement, goal: Goal, terms: Terms): Promise<Placement> {
  const { berth, host, generation } = former;
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const view = await readFleet(etcd, keys);
    if (view.placements.get(berth)?.record.generation !== generation)
      throw new Fault("NOT_MOVED", `${berth} was removed from ${host} meanwhile`);
    const { conditions = [] } = terms;
    const { lists } = await etcd.read(...conditions.map(({ key }) => ({ key })));
    const isOther = (one: Condition, at: number): boolean =>
      "revision" in one && lists[at]?.[0] !== undefined && lists[at][0].revision !== one.revision;
    if (conditions.some(isOther)) throw new Fault("NOT_MOVED", `${berth} stays on ${host}: a host has begun anew`);
    if (lists.some((list) => list.length === 0))
      throw new Fault("NOT_MOVED", `${berth} stays on ${host}, which has lost its lease meanwhile`);
    const { set, need, decision } = targetIn(view, former, goal.to, { withFiles: false, withImages: goal.withImages });
    const after = await commitPlacement(etcd, keys, view, set, need, decision, terms);
    const placed = after?.placements.get(berth);
    if (placed !== undefined) return placed.record;
  }
  throw new Fault("CONTENDED", `others changed the fleet ${MOST_TRIES} times meanwhile; ${berth} stays on ${host}`);
}

/** Gives the berth back. Resolves with what became of it, as a sentence. */
async function giveBack(etcd: Etcd, keys: Keys, placed: Placement, from: string, why: string): Promise<string> {
  const { berth, host } = placed;
  const failed = `${berth} did not start on ${host}: ${why}`;
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const view = await readFleet(etcd, keys);
    const set = view.sets.get(placed.set);
    const former = view.placements.get(berth);
    if (set === undefined || former?.record.generation !== placed.generation)
      return `${failed}; and it was changed meanwhile`;
    const need = needOf(set.record, numberOf(placed));
    // It may be closed to new berths: this one is none.
    const fleet = hostViews(view);
    const source = fleet.filter((one) => one.host.name === from).map((one) => ({ ...one, cordoned: false }));
    const asPlaced = decide(need, source, fleet);
    // It had its images. They may be named otherwise in the set by now.
    const decision = asPlaced.kind === "place" ? asPlaced : decide({ ...need, images: [] }, source);
    if (decision.kind === "refuse") {
      const [other] = explain(decision).others;
      return `${failed}; and it cannot go back: ${from} ${other?.why ?? "is silent"}`;
    }
    if (await commitPlacement(etcd, keys, view, set, need, decision, { evenIfCordoned: true, event: "returned", why }))
      return `${failed}; ${from} has it again, and starts it`;
  }
  return `${failed}; and it could not go back, as others changed the fleet all the time`;
}
