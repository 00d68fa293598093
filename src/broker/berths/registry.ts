/**
 * Which berths there are: applies a configuration to them. A berth with a problem is there with its problem. One that
 * is no longer configured keeps its sockets for as long as it has a tenant: a file may have been missing for a moment
 * only. It knows nothing of requests.
 */
import type { BerthSpec } from "../../config/keys/spec.ts";
import type { LoadedConfig } from "../../config/load.ts";
import { compareText, describeProblems, type Problem } from "../../config/toml/problem.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { dropPassed, duplicate, type PassedSocket } from "../sockets/passed-socket.ts";
import type { SocketFailure } from "../sockets/socket-failure.ts";
import { openMissing, openSockets, type SocketSet, type SocketSources } from "../sockets/socket-set.ts";
import { addressText, Berth } from "./berth/berth.ts";
import type { BerthEvents } from "./berth/berth-events.ts";
import type { BerthRoots } from "./berth-roots.ts";
import { leaveAside } from "./kept-copies.ts";
import type { Leases } from "./leases.ts";
import type { Repairs } from "./repairs/repairs.ts";
import { giveSockets } from "./socket-user.ts";
import type { Stashes } from "./stashes.ts";
import { changedOf, groupBy, inOrder, touchedBy } from "./touched.ts";

/** The berths of a configuration, with and without problems. */
export type Arrangement = Pick<LoadedConfig, "specs" | "troubled">;

export interface RegistryOptions extends Pick<SocketSources, "awaitClosed"> {
  readonly sys: Native;
  readonly log: Log;
  readonly roots: BerthRoots;
  readonly events: BerthEvents;
  readonly leases: Leases;
  readonly stashes: Stashes;
  /** Begins what new options make due. */
  readonly repairs: Pick<Repairs, "begin">;
}

export interface ApplyOptions {
  /** Passed to the broker; owned from now on. */
  readonly passed?: readonly PassedSocket[];
  /** Gets those that no berth uses. */
  readonly onUnclaimed?: (passed: PassedSocket) => void;
  /** As {@link SocketSources.tolerates}. */
  readonly tolerates?: SocketSources["tolerates"];
  /** Drafts of berths that are not configured, but had a tenant in an earlier broker that still lives. */
  readonly absent?: readonly BerthSpec[];
}

export class Registry {
  readonly #byName = new Map<string, Berth>();
  /** Not configured any more, but each has a tenant. */
  readonly #departed = new Map<string, Berth>();
  /** Why sockets are missing that may be opened later. */
  readonly #failures = new Map<Berth, readonly SocketFailure[]>();
  readonly #options: RegistryOptions;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  get(name: string): Berth | undefined {
    return this.#byName.get(name);
  }

  /** Also one that is no longer configured. */
  known(name: string): Berth | undefined {
    return this.#byName.get(name) ?? this.#departed.get(name);
  }

  /** Sorted by name. */
  list(): Berth[] {
    return [...this.#byName.values()];
  }

  get size(): number {
    return this.#byName.size;
  }

  /** Also those that are no longer configured. */
  all(): Berth[] {
    return [...this.#byName.values(), ...this.#departed.values()];
  }

  /** Forgets all of them. The caller closes what they have. */
  clear(): void {
    this.#byName.clear();
    this.#departed.clear();
    this.#failures.clear();
  }

  /** Berths with sockets that may be opened later, and why they are missing. */
  get failures(): ReadonlyMap<Berth, readonly SocketFailure[]> {
    return this.#failures;
  }

  /** As `Berths.apply`. */
  apply(
    { specs, troubled }: Arrangement,
    { passed = [], onUnclaimed = () => undefined, tolerates = () => false, absent = [] }: ApplyOptions,
  ): Problem[] {
    const { sys, log, awaitClosed } = this.#options;
    const names = new Set(troubled.map(({ name }) => name));
    // Of ten thousand berths a reload changes a few: the others are as they are, and cost one comparison each.
    const others = passed.length === 0 ? changedOf(specs, this.#byName) : specs;
    const touched = [...touchedBy({ specs, others, troubled }, this.#byName), ...this.#departed.values()];
    const present = touched.filter((berth) => !names.has(berth.name));
    const aside = passed.filter(({ stored }) => stored?.berth !== undefined && names.has(stored.berth));
    const returned = present.flatMap((berth) => berth.aside.map(duplicate));
    const offered = [...passed.filter((one) => !aside.includes(one)), ...returned];
    const owners = [...present, ...absent.map(({ name }) => ({ name, sockets: [], lease: {} }))];
    const set = openSockets(others, { present: owners, passed: offered, sys, awaitClosed, tolerates });
    if (Array.isArray(set)) {
      // Some sockets may have been reopened under another descriptor number, so earlier answers are invalid.
      for (const berth of this.all()) berth.generation++;
      for (const { handle } of aside) handle.close();
      return set;
    }
    for (const berth of present) leaveAside(berth);
    this.#replace(set, { specs: others, troubled }, aside, touched);
    for (const spec of absent) this.#departed.set(spec.name, new Berth(spec, []));
    for (const socket of set.unclaimed) {
      const departed = this.#departed.get(socket.stored?.berth ?? "");
      if (departed === undefined) onUnclaimed(socket);
      else departed.aside = [...departed.aside, socket];
    }
    log("debug", `${specs.length + troubled.length} berths are configured`);
    return [];
  }

  /** Tries again to open what a berth lacks. Returns what still fails. */
  recover(berth: Berth): readonly SocketFailure[] {
    const { sys, log, events } = this.#options;
    const before = this.#failures.get(berth);
    if (before === undefined) return [];
    const opened = openMissing(berth.spec, berth.sockets, sys);
    const { sockets } = opened;
    const failures = [...opened.failures, ...before.filter(({ cure }) => cure === undefined)];
    this.#setFailures(berth, failures);
    const isSame = sockets.length === berth.sockets.length && textOf(before) === textOf(failures);
    if (isSame) return failures;
    berth.sockets = sockets;
    giveSockets(berth);
    berth.generation++;
    if (failures.length === 0)
      log("notice", `berth ${berth.name}: its problem is gone, and it can be taken`, {
        event: "cured",
        berth: berth.name,
      });
    events.change("changed", berth);
    return failures;
  }

  /** Closes what a berth has that is no longer configured, now that it has no tenant. False if it is configured. */
  discard(berth: Berth): boolean {
    if (this.#departed.get(berth.name) !== berth) return false;
    this.#departed.delete(berth.name);
    const { sys, roots, stashes, events } = this.#options;
    for (const { socket } of berth.sockets) socket.close();
    berth.sockets = [];
    for (const passed of berth.aside) dropPassed(passed, sys);
    berth.aside = [];
    roots.release(berth, { next: false });
    stashes.clear(berth);
    berth.generation++;
    events.forget(berth);
    return true;
  }

  /** After leases were restored: closes what the berths have that are not configured and whose tenants have exited. */
  settleAbsent(): void {
    for (const berth of [...this.#departed.values()])
      if (berth.lease === undefined) this.discard(berth);
      else this.#sayRemoved(berth);
  }

  /** `specs` without those of berths that are as they were. */
  #replace(
    set: SocketSet,
    { specs, troubled }: Arrangement,
    aside: readonly PassedSocket[],
    touched: readonly Berth[],
  ): void {
    const before = new Map(touched.map((berth) => [berth.name, berth]));
    const returning = new Set(this.#departed.keys());
    const failed = groupBy(set.failures, ({ berth }) => berth);
    const offered = groupBy(aside, ({ stored }) => stored?.berth ?? "");
    this.#departed.clear();
    this.#failures.clear();
    const sorted = this.#byName.size;
    const all = [
      ...specs.map((spec) => ({ name: spec.name, spec, problems: [], isFit: true })),
      ...troubled.map(({ name, draft, problems }) => ({ name, spec: draft, problems, isFit: false })),
    ].sort((a, b) => compareText(a.name, b.name));
    for (const { name, spec, problems, isFit } of all) {
      const known = before.get(name);
      before.delete(name);
      const sockets = isFit ? (set.byBerth.get(name) ?? []) : (known?.sockets ?? []);
      const berth = known ?? new Berth(spec, sockets);
      this.#byName.set(name, berth);
      const had = berth.problems;
      if (isFit) this.#setFailures(berth, failed.get(name) ?? []);
      else {
        berth.problems = problems;
        berth.aside = [...berth.aside, ...(offered.get(name) ?? [])];
      }
      if (isFit) berth.range = this.#options.roots.rangeOf(spec);
      this.#say(berth, had);
      if (known === undefined || returning.has(name)) {
        berth.configure(spec, sockets);
        this.#options.events.change("added", berth);
      } else this.#change(berth, isFit ? spec : known.spec, sockets, textOf(had) !== textOf(berth.problems));
    }
    if (this.#byName.size > sorted) inOrder(this.#byName);
    for (const { name } of all) this.#settle(this.#byName.get(name));
    for (const berth of before.values()) this.#remove(berth, set.unwanted, returning.has(berth.name));
    const kept = new Set([...this.#departed.values()].flatMap(({ sockets }) => sockets.map(({ socket }) => socket)));
    for (const socket of set.unwanted) if (!kept.has(socket)) socket.close();
  }

  /** Its sockets get their user, and what their options make due begins. Lost ones may have been another berth's. */
  #settle(berth: Berth | undefined): void {
    if (berth === undefined) return;
    giveSockets(berth);
    for (const { socket } of berth.sockets)
      if (berth.lease === undefined && socket.lost !== undefined) socket.needsRepair();
    this.#options.repairs.begin(berth);
  }

  #setFailures(berth: Berth, failures: readonly SocketFailure[]): void {
    if (failures.length > 0) this.#failures.set(berth, failures);
    else if (!this.#failures.delete(berth) && berth.problems.length === 0) return;
    berth.problems = failures.map(({ problem }) => problem);
  }

  /** Logs what is wrong with a berth, once. */
  #say({ name, problems }: Berth, had: readonly Problem[]): void {
    if (textOf(problems) === textOf(had)) return;
    const { log } = this.#options;
    if (problems.length === 0) log("notice", `berth ${name}: its problem is gone`, { event: "cured", berth: name });
    else
      log("error", `berth ${name} cannot be taken: ${describeProblems(problems)}`, {
        event: "problem",
        berth: name,
        problems: problems.length,
      });
  }

  #change(berth: Berth, spec: BerthSpec, sockets: Berth["sockets"], isOtherwise: boolean): void {
    const { roots, log, events } = this.#options;
    const tenants = [berth.lease, berth.incoming].filter((lease) => lease !== undefined);
    // A reload comes here for each of ten thousand berths, most of which have nobody.
    const before = tenants.length === 0 ? [] : berth.sockets.map(addressText);
    const { moved, changed, outdates } = berth.configure(spec, sockets);
    if (outdates) roots.forget(berth);
    const now = new Set(tenants.length === 0 ? [] : sockets.map(addressText));
    for (const lease of outdates ? tenants : []) {
      lease.outdated = true;
      lease.older = [...new Set([...lease.older, ...before])].filter((address) => !now.has(address));
    }
    if (moved && berth.lease !== undefined) {
      const { pid } = berth.lease.tenant;
      const message = `berth ${berth.name}: its sockets changed; pid ${pid} keeps those it has until it asks again`;
      log("notice", message, { event: "changed", berth: berth.name });
    }
    if (changed || isOtherwise) events.change("changed", berth);
  }

  #remove(berth: Berth, unwanted: SocketSet["unwanted"], isKnown: boolean): void {
    const { events, roots, stashes } = this.#options;
    const { name, lease } = berth;
    this.#byName.delete(name);
    const left = new Set(unwanted);
    const had = berth.sockets.length;
    berth.sockets = berth.sockets.filter(({ socket }) => left.has(socket));
    berth.problems = [];
    if (!isKnown) this.#sayRemoved(berth);
    if (lease === undefined) {
      roots.release(berth, { next: false });
      stashes.clear(berth);
      leaveAside(berth);
    } else this.#departed.set(name, berth);
    if (!isKnown) events.change("removed", berth);
    else if (berth.sockets.length < had) events.tell("changed", berth);
    berth.generation++;
  }

  #sayRemoved({ name, lease }: Berth): void {
    const why = lease === undefined ? "" : `; its sockets stay open while pid ${lease.tenant.pid} has them`;
    this.#options.log("info", `berth ${name}: no longer configured${why}`, { event: "removed", berth: name });
  }
}

function textOf(problems: readonly (Problem | SocketFailure)[]): string {
  return JSON.stringify(problems.map((one) => ("problem" in one ? one.problem.message : one.message)));
}
