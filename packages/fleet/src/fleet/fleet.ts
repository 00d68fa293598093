/** What operators and agents do to a fleet. A caller whose transaction fails reads again, and decides anew. */
import type { Etcd } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { type BerthSet, writeBerthSet } from "../model/berth-set.ts";
import type { Keys } from "../model/keys.ts";
import type { Placement } from "../model/placement.ts";
import { decide } from "../placement/decide.ts";
import { type Explanation, explain } from "../placement/explain.ts";
import { type Need, needOf } from "../placement/need.ts";
import { missing } from "../placement/plan.ts";
import { commitPlacement, commitRemoval, type Terms } from "./commit.ts";
import { eventChange, pruneSometimes } from "./events.ts";
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
    const outcomes = await this.#placeAll((view, tried) => {
      const set = view.sets.get(name);
      if (set === undefined) throw noSuchSet(name);
      const [need] = missing(set.record, new Set([...view.placements.keys(), ...tried]));
      return need && { set, need };
    });
    const refused = outcomes.filter(({ explanation }) => explanation.host === undefined);
    const [first] = refused;
    if (first !== undefined) {
      const more = refused.length > 1 ? `, and ${refused.length - 1} more berths` : "";
      const why = `${whyNot(first.explanation) || "there is no host"}${more}`;
      await this.#etcd.commit([], [eventChange(this.#keys, "refused", { set: name, berth: first.berth, why })]);
      await pruneSometimes(this.#etcd, this.#keys);
    }
    return outcomes;
  }

  /** Removes a set and its berths; resolves with those that were placed. Throws NO_SUCH_SET. */
  async remove(name: string): Promise<Placement[]> {
    const key = this.#keys.of({ kind: "set", set: name });
    const { done } = await this.#etcd.commit([{ key, present: true }], [{ remove: { key } }]);
    const removed = await this.#removeAll((view) => placedOf(view, name));
    if (!done && removed.length === 0) throw noSuchSet(name);
    return removed;
  }

  /** Places berths of lost hosts elsewhere, those whose set says `replace`. `isLost` decides of which hosts. */
  async replaceLost(isLost: (host: string) => boolean): Promise<Outcome[]> {
    return await this.#placeAll((view, tried) => {
      for (const { record } of view.placements.values()) {
        const { berth, host, onLost } = record;
        if (onLost !== "replace" || tried.has(berth) || view.hosts.has(host)) continue;
        const set = view.sets.get(record.set);
        if (set !== undefined && isLost(host)) return { set, need: needOf(set.record, numberOf(record)) };
      }
      return undefined;
    }, "replaced");
  }

  /**
   * Places one need after the other, as long as there is one, and each berth at most once: so it ends, whatever etcd
   * contains. `tried`: berths that were placed, or that no host can have.
   */
  async #placeAll(
    next: (view: FleetView, tried: ReadonlySet<string>) => Wanted | undefined,
    event?: "replaced",
  ): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const tried = new Set<string>();
    await this.#untilDone(async (view, isFresh) => {
      const wanted = next(view, tried);
      if (wanted === undefined || tried.has(wanted.need.berth)) return "done";
      const { set, need } = wanted;
      const { berth } = need;
      const decision = decide(need, hostViews(view));
      const outcome = { berth, explanation: explain(decision) };
      if (decision.kind === "refuse") {
        // Others may have made room since the fleet was read.
        if (!isFresh) return undefined;
        tried.add(berth);
        outcomes.push(outcome);
        return view;
      }
      const why = whyNot(outcome.explanation);
      const terms: Terms = { ...(event && { event }), ...(why && { why }) };
      const after = await commitPlacement(this.#etcd, this.#keys, view, set, need, decision, terms);
      if (after === undefined) return undefined;
      tried.add(berth);
      outcomes.push(outcome);
      return after;
    });
    return outcomes;
  }

  async #removeAll(which: (view: FleetView) => readonly Kept<Placement>[]): Promise<Placement[]> {
    const removed: Placement[] = [];
    await this.#untilDone(async (view) => {
      const [first] = which(view);
      if (first === undefined) return "done";
      const after = await commitRemoval(this.#etcd, this.#keys, view, first);
      if (after !== undefined) removed.push(first.record);
      return after;
    });
    return removed;
  }

  /**
   * Each step has the view that the one before it has left, so that the fleet is not read for each berth. A step
   * without a result has lost its transaction, or needs a newer view: then the fleet is read again.
   */
  async #untilDone(
    step: (view: FleetView, isFresh: boolean) => Promise<FleetView | "done" | undefined>,
  ): Promise<void> {
    let read: FleetView | undefined;
    let view: FleetView | undefined;
    for (let losses = 0; losses < MAX_LOSSES; ) {
      if (view === undefined) {
        read = await this.view();
        view = read;
      }
      const after = await step(view, view === read);
      if (after === "done") return;
      losses = after === undefined ? losses + 1 : 0;
      view = after;
    }
    throw new Fault("CONTENDED", `others changed the fleet ${MAX_LOSSES} times meanwhile; try again`);
  }
}

interface Wanted {
  readonly set: Kept<BerthSet>;
  readonly need: Need;
}

const MOST_REASONS = 5;

/** What it gets first, and why no other host, for the history. */
function whyNot({ fetches = [], others }: Explanation): string {
  const reasons = others.slice(0, MOST_REASONS).map(({ host, why }) => `not ${host}: ${why}`);
  return [...fetches, ...reasons].join("; ");
}

function noSuchSet(name: string): Fault {
  return new Fault("NO_SUCH_SET", `there is no set ${name}; to see all: berth-fleet ls sets`);
}
