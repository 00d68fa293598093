/** All berths of this host, as they are known now: it takes what the broker tells and measures. It does no I/O. */
import type { BerthEventRecord, BerthRecord } from "berthd";
import type { TimelineEvent } from "../api/history-shapes.ts";
import type { Sample } from "../history/history.ts";
import { happeningOf } from "./happening.ts";
import { type Answered, FRESH_MS, type Known, PlayersOfADay, timeOf } from "./known.ts";
import type { Measured } from "./measured.ts";
import { stateOf } from "./state.ts";
import { startOfProcess, type Users } from "./users.ts";

export class Berths {
  readonly #known = new Map<string, Known>();
  readonly #users: Users;
  #measuredAt: number | undefined;

  constructor(users: Users) {
    this.#users = users;
  }

  get size(): number {
    return this.#known.size;
  }

  get(name: string): Known | undefined {
    return this.#known.get(name);
  }

  all(): Known[] {
    return [...this.#known.values()].sort((a, b) => (a.record.name < b.record.name ? -1 : 1));
  }

  /** The broker is there again, and has told all its berths: the others are gone. */
  keepOnly(names: readonly string[]): void {
    const there = new Set(names);
    for (const name of this.#known.keys()) if (!there.has(name)) this.#known.delete(name);
  }

  /** Returns what goes into its timeline. */
  apply(record: BerthEventRecord, at: number): TimelineEvent | undefined {
    const { event, berth } = record;
    const known = this.#known.get(berth.name);
    const before = { record: known?.record, leasedAt: known?.leasedAt ?? null };
    const happening = happeningOf(record, before, at, (uid) => this.#users.nameOf(uid));
    if (event === "removed") {
      this.#known.delete(berth.name);
      return happening;
    }
    if (known === undefined) this.#known.set(berth.name, unknownYet(berth, at, event === "present"));
    else update(known, record, at);
    return happening;
  }

  /** Measurements of all berths. Returns the samples for the history: of those that have a server. */
  measured(all: ReadonlyMap<string, Measured>, at: number, host: string): Sample[] {
    const seconds = this.#measuredAt === undefined ? undefined : (at - this.#measuredAt) / 1000;
    this.#measuredAt = at;
    return this.all().flatMap((known) => {
      const now = all.get(known.record.name);
      const before = known.measured;
      known.measured = now;
      known.cpu = now === undefined ? null : used(before, now, seconds);
      const drops = now === undefined ? null : lost(before, now);
      if (drops) known.loss = added(known, drops, at);
      retell(known, at);
      if (known.record.state === "vacant" || now === undefined) return [];
      const isFresh = known.query !== undefined && at - known.query.at < FRESH_MS;
      const players = known.record.players?.count ?? (isFresh ? (known.query?.players ?? null) : null);
      if (players !== null) known.players.add(at, players);
      return [{ host, name: known.record.name, players, cpu: known.cpu, memory: now.memory, queue: now.queue, drops }];
    });
  }

  /** What a server answered. */
  answered(name: string, answer: Answered): void {
    const known = this.#known.get(name);
    if (known !== undefined) known.query = answer;
  }

  /** Some states end with time: a problem ends when no packet has been lost for a while. */
  tick(at: number): void {
    for (const known of this.#known.values()) retell(known, at);
  }
}

function unknownYet(record: BerthRecord, at: number, isPresent: boolean): Known {
  const leasedAt = leaseBegin(record, isPresent, at);
  const known: Known = {
    record,
    state: "vacant",
    since: timeOf(record.since) ?? (isPresent ? leasedAt : at),
    measured: undefined,
    cpu: null,
    loss: undefined,
    saysReady: record.ready === true,
    leasedAt,
    query: undefined,
    players: new PlayersOfADay(),
  };
  known.state = stateOf(known, at);
  return known;
}

function update(known: Known, { event, berth }: BerthEventRecord, at: number): void {
  const isOther = known.record.lease?.id !== berth.lease?.id;
  known.record = berth;
  if (berth.ready === true) known.saysReady = true;
  if (isOther) {
    known.leasedAt = leaseBegin(berth, event === "present", at);
    known.measured = undefined;
    known.loss = undefined;
    known.cpu = null;
    if (!berth.lease) known.query = undefined;
  }
  retell(known, at, isOther);
}

/** An older broker does not say when it granted the lease: then the server's process began about then. */
function leaseBegin({ lease }: BerthRecord, isPresent: boolean, at: number): number | null {
  if (!lease) return null;
  return timeOf(lease.since) ?? (isPresent ? startOfProcess(lease.pid) : at);
}

/** With a new tenant the time begins again, even if the state stays the same. */
function retell(known: Known, at: number, isNew = false): void {
  const state = stateOf(known, at);
  if (state === known.state && !isNew) return;
  known.state = state;
  // After a problem, it has been serving since its lease began. If the broker gives no time, the state began now.
  known.since = state === "serving" ? known.leasedAt : state === "problem" ? at : (timeOf(known.record.since) ?? at);
}

function used(before: Measured | undefined, now: Measured, seconds: number | undefined): number | null {
  if (before?.cpuSeconds == null || now.cpuSeconds === null || !seconds || seconds <= 0) return null;
  return Math.max(0, Math.round(((now.cpuSeconds - before.cpuSeconds) / seconds) * 1000) / 1000);
}

/** A counter that has become smaller has begun again. */
function lost(before: Measured | undefined, now: Measured): number | null {
  if (now.drops === null || before?.drops == null) return null;
  return now.drops >= before.drops ? now.drops - before.drops : now.drops;
}

function added({ loss }: Known, drops: number, at: number): Known["loss"] {
  const goesOn = loss !== undefined && at - loss.last < FRESH_MS;
  return { count: (goesOn ? loss.count : 0) + drops, since: goesOn ? loss.since : at, last: at };
}
