/** What operators and agents do to a fleet. Whoever loses a transaction reads again and decides anew. */
import type { Etcd } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { type BerthSet, writeBerthSet } from "../model/berth-set.ts";
import type { Keys } from "../model/keys.ts";
import type { Placement } from "../model/placement.ts";
import { decide } from "../placement/decide.ts";
import { type Explanation, explain } from "../placement/explain.ts";
import { type Need, needOf } from "../placement/need.ts";
import { missing } from "../placement/plan.ts";
import { commitPlacement, commitRemoval } from "./commit.ts";
import { type FleetView, hostViews, type Kept, numberOf, placedOf, readFleet } from "./view.ts";

/** What became of one berth. */
export interface Outcome {
  readonly berth: string;
  readonly explanation: Explanation;
}

/** In a row. Each loss means that another one has won, so the fleet goes on all the same. */
const MAX_LOSSES = 100;

export class Fleet {
  readonly #etcd: Etcd;
  readonly #keys: Keys;

  constructor(etcd: Etcd, keys: Keys) {
    this.#etcd = etcd;
    this.#keys = keys;
  }

  view(): Promise<FleetView> {
    return readFleet(this.#etcd, this.#keys);
  }

  /** Stores the set, takes away berths above its count, and places those that are missing. */
  async apply(set: BerthSet): Promise<Outcome[]> {
    await this.#etcd.commit([], [{ put: this.#keys.of({ kind: "set", set: set.name }), value: writeBerthSet(set) }]);
    await this.#removeAll((view) => {
      const count = view.sets.get(set.name)?.record.count ?? 0;
      return placedOf(view, set.name).filter(({ record }) => numberOf(record) > count);
    });
    return await this.place(set.name);
  }

  /** Places the berths of a set that are missing. Throws NO_SUCH_SET. */
  async place(name: string): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const refused = new Set<string>();
    await this.#untilDone(async () => {
      const view = await this.view();
      const set = view.sets.get(name);
      if (set === undefined) throw new Fault("NO_SUCH_SET", `there is no set ${name}; to see all: berth-fleet ls`);
      const placed = new Set([...view.placements.keys(), ...refused]);
      const [need] = missing(set.record, placed);
      if (need === undefined) return "done";
      const outcome = await this.#placeOne(view, set, need);
      if (outcome === undefined) return "lost";
      if (outcome.explanation.host === undefined) refused.add(need.berth);
      outcomes.push(outcome);
      return "again";
    });
    return outcomes;
  }

  /** Removes a set and its berths; resolves with those that were placed. Throws NO_SUCH_SET. */
  async remove(name: string): Promise<Placement[]> {
    const key = this.#keys.of({ kind: "set", set: name });
    const { done } = await this.#etcd.commit([{ key, present: true }], [{ remove: { key } }]);
    const removed = await this.#removeAll((view) => placedOf(view, name));
    if (!done && removed.length === 0)
      throw new Fault("NO_SUCH_SET", `there is no set ${name}; to see all: berth-fleet ls`);
    return removed;
  }

  /** Places berths of lost hosts elsewhere, those whose set says `replace`. `isLost` decides of which hosts. */
  async replaceLost(isLost: (host: string) => boolean): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const refused = new Set<string>();
    await this.#untilDone(async () => {
      const view = await this.view();
      const lost = [...view.placements.values()].find(
        ({ record: { berth, host, onLost } }) =>
          onLost === "replace" && !refused.has(berth) && !view.hosts.has(host) && isLost(host),
      );
      const set = lost && view.sets.get(lost.record.set);
      if (lost === undefined) return "done";
      const { berth } = lost.record;
      if (set === undefined) {
        refused.add(berth);
        return "again";
      }
      const outcome = await this.#placeOne(view, set, needOf(set.record, numberOf(lost.record)));
      if (outcome === undefined) return "lost";
      if (outcome.explanation.host === undefined) refused.add(berth);
      outcomes.push(outcome);
      return "again";
    });
    return outcomes;
  }

  /** Undefined: the transaction was lost. */
  async #placeOne(view: FleetView, set: Kept<BerthSet>, need: Need): Promise<Outcome | undefined> {
    const decision = decide(need, hostViews(view));
    const outcome = { berth: need.berth, explanation: explain(decision) };
    if (decision.kind === "refuse") return outcome;
    const done = await commitPlacement(this.#etcd, this.#keys, view, set, need, decision);
    return done ? outcome : undefined;
  }

  async #removeAll(which: (view: FleetView) => readonly Kept<Placement>[]): Promise<Placement[]> {
    const removed: Placement[] = [];
    await this.#untilDone(async () => {
      const view = await this.view();
      const [first] = which(view);
      if (first === undefined) return "done";
      if (!(await commitRemoval(this.#etcd, this.#keys, view, first))) return "lost";
      removed.push(first.record);
      return "again";
    });
    return removed;
  }

  async #untilDone(step: () => Promise<"done" | "again" | "lost">): Promise<void> {
    for (let losses = 0; losses < MAX_LOSSES; ) {
      const result = await step();
      if (result === "done") return;
      losses = result === "lost" ? losses + 1 : 0;
    }
    throw new Fault("CONTENDED", `others changed the fleet ${MAX_LOSSES} times meanwhile; try again`);
  }
}
