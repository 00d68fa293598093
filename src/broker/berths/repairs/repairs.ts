/**
 * Sets the sockets of berths right in the background, through the guard: their options, and after a lease all that its
 * tenant changed. Until then nobody gets the berth. A tenant that makes the kernel hold its socket's lock is ended;
 * others never notice.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../../log.ts";
import type { Native } from "../../../native.ts";
import { lend, type Planned, type PlansGuard, type PlansOutcome, tendAll } from "../../plans/guarded-plan.ts";
import type { HeldSocket } from "../../sockets/held-socket.ts";
import type { NamedSocket } from "../../sockets/named-socket.ts";
import type { Berth } from "../berth/berth.ts";
import type { BerthEvents } from "../berth/berth-events.ts";
import type { WaitView } from "../berth/berth-view.ts";
import type { Lease } from "../berth/lease.ts";
import { dueOf, isOver, type Outcome, ownerOf, type Repair, type Turn } from "./repair.ts";
import { Rounds } from "./rounds.ts";
import { StillOpen } from "./still-open.ts";
import { tellRepairs } from "./tell-repairs.ts";
import { endTenant, type LastTenant, userTest } from "./tenant-end.ts";

export interface RepairsOptions {
  readonly sys: Native;
  readonly log: Log;
  readonly guard: PlansGuard;
  readonly events: BerthEvents;
}

/** When to try again where there is no guard process: at first, and at most. */
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5000;
/** From this delay on it is worth a line in the log. */
const TOLD_DELAY_MS = 4 * FIRST_DELAY_MS;
/** A guard process that has not ended so long after SIGKILL waits in the kernel for a lock: it was not just slow. */
const KILL_MS = 250;

/** Rounds at once of one user's sockets: more would fill the channel to its guard process. */
const MOST_ROUNDS = 8;

export class Repairs {
  readonly #options: RepairsOptions;
  readonly #byBerth = new Map<Berth, Repair>();
  readonly #rounds: Rounds = new Rounds(MOST_ROUNDS);
  readonly #stillOpen: StillOpen;
  readonly #observers: ((berth: Berth) => void)[] = [];
  /** Ends all waiting. */
  #stop = AbortSignal.abort();
  #abort: () => void = () => undefined;

  /** Begins nothing before {@link start}. */
  constructor(options: RepairsOptions) {
    this.#options = options;
    this.#stillOpen = new StillOpen(options.sys, options.log);
  }

  /** Calls `hear` for each berth whose sockets are to be set right, maybe more than once, and when they are right. */
  observe(hear: (berth: Berth) => void): void {
    this.#observers.push(hear);
  }

  /** What to wait for before anybody gets a vacant berth; undefined if its sockets are right. */
  pending(berth: Berth): Promise<undefined> | undefined {
    if (dueOf(berth).length === 0) return undefined;
    this.begin(berth);
    return this.#byBerth.get(berth)?.done ?? Promise.resolve(undefined);
  }

  /** Its last lease is about to end: the tenant may have changed every socket. A repair takes the lease's process. */
  afterLease(berth: Berth, lease: Lease): void {
    for (const { socket } of berth.sockets) socket.needsRepair();
    this.#begin(berth, lease, () => ({ tenant: lease.tenant, process: lease.stealProcess() }));
  }

  /** Begins what is due for the berth's sockets, if it has not begun. */
  begin(berth: Berth): void {
    const { lease } = berth;
    this.#begin(berth, lease, () => lease && { tenant: lease.tenant, process: lease.shareProcess() });
  }

  #begin(berth: Berth, lease: Lease | undefined, lastOf: () => LastTenant | undefined): void {
    const stopped = this.#stop;
    if (stopped.aborted || dueOf(berth).length === 0) return;
    for (const hear of this.#observers) hear(berth);
    const known = this.#byBerth.get(berth);
    if (known !== undefined && !known.stopped.aborted) {
      if (lease === undefined) return;
      known.isOver = isOver(lease);
      known.last?.process?.close();
      known.last = lastOf();
      return;
    }
    let settle: (value: undefined) => void = () => undefined;
    const done = new Promise<undefined>((resolve) => {
      settle = resolve;
    });
    const repair: Repair = { stopped, done, isOver: isOver(lease), last: lastOf() };
    this.#byBerth.set(berth, repair);
    berth.wait = {
      view: { for: "repair", message: "its sockets are set right after its last tenant" },
      since: performance.now(),
    };
    // What the caller does comes first: a Release is answered, and everybody is told of it.
    queueMicrotask(() => this.#first(berth, repair, settle));
  }

  /** Begins. The tenants of vacant berths may have exited while no broker was running. */
  start(berths: readonly Berth[]): void {
    for (const { lease, sockets } of berths)
      if (lease === undefined) for (const { socket } of sockets) socket.needsRepair();
    this.resume(berths);
  }

  /** Begins nothing until {@link resume}. Resolves when the guard does nothing about any socket any more. */
  async pause(): Promise<void> {
    this.#abort();
    await this.#rounds.over();
  }

  get isPaused(): boolean {
    return this.#stop.aborted;
  }

  /** Begins what is due for these berths. */
  resume(berths: readonly Berth[]): void {
    const controller = new AbortController();
    this.#stop = controller.signal;
    this.#abort = () => controller.abort();
    for (const berth of berths) this.begin(berth);
  }

  /** Begins nothing any more. What is still due is the next broker's. */
  close(): void {
    this.#abort();
  }

  /** The first try. Nearly always nothing was changed, so this makes no promise that it does not need. */
  #first(berth: Berth, repair: Repair, settle: (value: undefined) => void): void {
    const owner = ownerOf(berth, repair.last, "first");
    const due = dueOf(berth);
    const hear = (outcome?: Outcome): void => {
      if (outcome === "done" && dueOf(berth).length === 0) {
        this.#finish(berth, repair);
        settle(undefined);
      } else void this.#run(berth, repair, outcome).then(() => settle(undefined));
    };
    const mustLook = due.some(({ socket }) => socket.carrying.size > 0) || this.#mayBeOpen(due, repair);
    if (repair.stopped.aborted || mustLook || !this.#rounds.enter(owner)) return hear();
    let onFreed: () => void = () => undefined;
    const freed = new Promise<void>((resolve) => {
      onFreed = resolve;
    });
    const heard = (outcome: PlansOutcome): void => {
      this.#rounds.leave(owner);
      hear(outcome === "stuck" ? { freed } : outcome);
    };
    tendAll(this.#planned(berth, repair, NONE), this.#options.guard, owner, heard, onFreed);
  }

  /** `first` is what came of the first try, if there was one. */
  async #run(berth: Berth, repair: Repair, first?: Outcome): Promise<void> {
    const { stopped } = repair;
    let outcome = first;
    let turn: Turn = "first";
    for (let delay = FIRST_DELAY_MS; !stopped.aborted && dueOf(berth).length > 0; turn = "later") {
      outcome ??= await this.#round(berth, repair, turn);
      if (outcome === "done") delay = FIRST_DELAY_MS;
      else if (outcome === "unavailable") {
        if (delay === TOLD_DELAY_MS) this.#tellWaiting(berth, repair);
        await sleep(delay, undefined, { signal: stopped }).catch(ignoreAbort);
        delay = Math.min(2 * delay, LONGEST_DELAY_MS);
      } else await this.#unstick(berth, repair, outcome);
      outcome = undefined;
    }
    this.#finish(berth, repair);
  }

  #finish(berth: Berth, repair: Repair): void {
    repair.last?.process?.close();
    if (this.#byBerth.get(berth) === repair) {
      this.#byBerth.delete(berth);
      this.#setWait(berth, undefined);
    }
    if (!repair.stopped.aborted) for (const hear of this.#observers) hear(berth);
  }

  /** One try. If it got stuck, resolves with what resolves when the guard process has ended. */
  async #round(berth: Berth, repair: Repair, turn: Turn): Promise<Outcome> {
    const { last } = repair;
    const { guard } = this.#options;
    const owner = ownerOf(berth, last, turn);
    let onFreed: () => void = () => undefined;
    const freed = new Promise<void>((resolve) => {
      onFreed = resolve;
    });
    // A bind that was being answered when the lease ended still changes the socket.
    const carrying = dueOf(berth).flatMap(({ socket }) => [...socket.carrying]);
    if (carrying.length > 0) await Promise.allSettled(carrying);
    const repaired = repair.isOver ? [] : dueOf(berth).filter(({ socket }) => socket.due === "repair");
    const kept = await this.#stillOpen.among(berth.name, repaired, userTest(berth, last?.tenant));
    const outcome = await this.#rounds.run(
      owner,
      () =>
        new Promise<PlansOutcome>((resolve) =>
          tendAll(this.#planned(berth, repair, kept), guard, owner, resolve, onFreed),
        ),
    );
    return outcome === "stuck" ? { freed } : outcome;
  }

  /** Whether a process of its last server may have one of these sockets: to find out takes a look at all processes. */
  #mayBeOpen(due: readonly NamedSocket[], { isOver }: Repair): boolean {
    return !isOver && due.some(({ socket }) => socket.due === "repair" && this.#stillOpen.isPossible(socket));
  }

  /** What is due, as plans. `kept` are sockets that another process still has. */
  #planned(berth: Berth, { stopped }: Repair, kept: ReadonlySet<HeldSocket>): Planned[] {
    if (stopped.aborted) return [];
    return dueOf(berth).map(({ name, socket }) => {
      // Another listener may take its place: that one needs none of it.
      const lent = lend(socket);
      const { lost } = socket;
      const tell = (said: readonly string[]): void => tellRepairs(berth, name, newsOf(said, lost), this.#options);
      return {
        fd: () => (stopped.aborted ? undefined : lent()),
        plan: socket.tend(tell, socket.due, kept.has(socket)),
      };
    });
  }

  /** Ends those who hold a lock, until the guard's process that waits for it has ended. */
  async #unstick(berth: Berth, repair: Repair, { freed }: { readonly freed: Promise<void> }): Promise<void> {
    let isFree = false;
    void freed.then(() => {
      isFree = true;
    });
    const wait = async (milliseconds: number): Promise<void> => {
      const limit = new AbortController();
      const signal = AbortSignal.any([repair.stopped, limit.signal]);
      await Promise.race([freed, sleep(milliseconds, undefined, { signal }).catch(ignoreAbort)]);
      limit.abort();
    };
    await wait(KILL_MS);
    for (
      let delay = FIRST_DELAY_MS;
      !isFree && !repair.stopped.aborted;
      delay = Math.min(2 * delay, LONGEST_DELAY_MS)
    ) {
      const ended = await endTenant(berth, repair.last, this.#options.sys);
      if (ended.length > 0 || delay === FIRST_DELAY_MS) this.#tellStuck(berth, repair, ended);
      await wait(delay);
    }
  }

  /** Watchers hear of a wait that is not short, and of its end. */
  #setWait(berth: Berth, wait: WaitView | undefined): void {
    const before = berth.wait;
    berth.wait = wait && { view: wait, since: performance.now() };
    if (before === undefined || before.view.for === (wait?.for ?? "repair")) return;
    berth.generation++;
    this.#options.events.tell("changed", berth);
  }

  #tellStuck(berth: Berth, repair: Repair, ended: readonly number[]): void {
    const { name } = berth;
    const { last } = repair;
    const who = last === undefined ? "a tenant" : `pid ${last.tenant.pid} (uid ${last.tenant.uid})`;
    const what = ended.length === 0 ? "no process of its user has the socket" : `ended pid ${ended.join(", ")}`;
    if (this.#byBerth.get(berth) === repair)
      this.#setWait(berth, {
        for: "lock",
        ...(last !== undefined && { pid: last.tenant.pid }),
        message: `${who} has the kernel hold the lock of its socket`,
      });
    const message = `berth ${name}: ${who} has the kernel hold the lock of its socket, so nobody else gets the berth`;
    this.#options.log("warning", `${message}; ${what}`, {
      event: "tenant-ended",
      berth: name,
      ...(last !== undefined && { pid: last.tenant.pid, uid: last.tenant.uid }),
    });
  }

  #tellWaiting(berth: Berth, repair: Repair): void {
    const { name } = berth;
    if (this.#byBerth.get(berth) === repair)
      this.#setWait(berth, { for: "guard", message: "there is no guard process to set its sockets right" });
    const message = `berth ${name}: there is no guard process to set its sockets right, so nobody gets the berth`;
    this.#options.log("warning", `${message}; trying again`, { event: "guard", berth: name });
  }
}

const NONE: ReadonlySet<HeldSocket> = new Set();

/** That a socket still cannot be opened again is none. */
function newsOf(sentences: readonly string[], lost: string | undefined): readonly string[] {
  return sentences.filter((sentence) => sentence !== lost);
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error) || error.name !== "AbortError") throw error;
}
