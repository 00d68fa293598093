/**
 * The doorman of one user's sleeping servers. When its process ends there is a new one, later each time; meanwhile the
 * broker watches itself, and any packet starts a server.
 */
import type { Report } from "../../../doorman/interfaces/messages.ts";
import { BerthError } from "../../../errors.ts";
import type { Log } from "../../../log.ts";
import type { Native } from "../../../native.ts";
import { Asks, type Question } from "./asks.ts";
import { DoormanProcess, type Identity, isFull } from "./doorman-process.ts";
import { Drops } from "./drops.ts";
import { END_MS, EndingDoormen } from "./ending-doormen.ts";
import { type Guest, Housed } from "./guest.ts";
import type { DoormanLimits } from "./limits.ts";
import type { TapMaker } from "./taps.ts";

/** When to send again what its channel had no room for. */
const RETRY_MS = 20;

export interface UserDoormanOptions {
  readonly sys: Native;
  readonly log: Log;
  /** Undefined: the broker's own user. */
  readonly identity: Identity | undefined;
  readonly limits: DoormanLimits;
  readonly taps: TapMaker;
  /** Its {@link UserDoorman.processes} are others than before. */
  readonly onProcesses: () => void;
}

export class UserDoorman {
  readonly #options: UserDoormanOptions;
  readonly #guests = new Map<number, Housed>();
  #process: DoormanProcess | undefined;
  /** Since when it is confined, by performance.now(). Before that it gets no socket. */
  #readyAt: number | undefined;
  readonly #ending = new EndingDoormen();
  readonly #drops = new Drops();
  readonly #asks = new Asks();
  /** Resolves those who wait until no copy is left. */
  readonly #waiting: (() => void)[] = [];
  #isWithdrawn = false;
  #failures = 0;
  #startedAt = 0;
  #again: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** The end of its time to start, and to drop. */
  #unready: NodeJS.Timeout | undefined;
  #late: NodeJS.Timeout | undefined;

  /** `isWithdrawn`: it gets no socket before {@link readmit}. */
  constructor(options: UserDoormanOptions, isWithdrawn: boolean) {
    this.#options = options;
    this.#isWithdrawn = isWithdrawn;
  }

  /** Those that have copies, or may get some. The pidfds are borrowed. */
  get processes(): { readonly pid: number; readonly pidfd: number }[] {
    const all = this.#process === undefined ? this.#ending.all : [...this.#ending.all, this.#process];
    return all.flatMap(({ pid, pidfd }) => (pid === undefined || pidfd === undefined ? [] : [{ pid, pidfd }]));
  }

  get isStarting(): boolean {
    return this.#process !== undefined && this.#readyAt === undefined;
  }

  /** Milliseconds; 0 if its process does not do its work yet. */
  get readyFor(): number {
    return this.#readyAt === undefined ? 0 : performance.now() - this.#readyAt;
  }

  get isIdle(): boolean {
    return this.#guests.size === 0 && this.#asks.isEmpty;
  }

  watch(id: number, guest: Guest): void {
    const watched = new Housed(guest);
    this.#guests.set(id, watched);
    if (this.#process === undefined && this.#again === undefined) this.#start();
    if (this.#process === undefined) this.#leaveAlone(id, watched);
    else this.#flush();
  }

  /** Has it ask a server that runs. */
  ask(question: Question): void {
    this.#asks.add(question);
    if (this.#process === undefined && this.#again === undefined) this.#start();
    if (this.#process === undefined) this.#asks.giveUp();
    else this.#flush();
  }

  leave(id: number): void {
    const watched = this.#guests.get(id);
    this.#guests.delete(id);
    if (watched?.takeAway() !== true) return;
    this.#drops.add(id);
    this.#flush();
  }

  /** Has it drop everything, until {@link readmit}. */
  withdraw(): void {
    this.#isWithdrawn = true;
    for (const [id, watched] of this.#guests) if (watched.takeAway()) this.#drops.add(id);
    this.#flush();
  }

  readmit(): void {
    this.#isWithdrawn = false;
    this.#flush();
  }

  /**
   * Resolves when it has no copy of a socket that it was to drop. One that is late is killed, and one that does not end
   * then keeps its copies: an address of theirs may be in use.
   */
  async dropped(): Promise<void> {
    if (this.#isClear) return;
    const { limits, log } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#ending.giveUp();
        log("warning", "a doorman that was killed does not end: it keeps sockets of sleeping servers", {
          event: "doorman",
        });
        this.#tellClear();
      }, limits.drop + END_MS);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Ends it if it still has a copy that it was to drop, and waits until that is closed. */
  dropNow(): void {
    if (this.#isClear) return;
    if (this.#process !== undefined) {
      this.#stop();
      if (!this.isIdle) this.#start();
    }
    this.#ending.await();
  }

  /** Ends it. */
  end(): void {
    this.#guests.clear();
    this.#asks.close();
    clearTimeout(this.#again);
    this.#stop();
  }

  /** Ends it, and waits until all of its copies are closed. */
  close(): void {
    this.end();
    this.#ending.await();
  }

  get #isClear(): boolean {
    return this.#drops.isClear && this.#ending.isClear;
  }

  #start(): void {
    const { sys, identity, limits } = this.#options;
    this.#again = undefined;
    this.#startedAt = performance.now();
    try {
      const process: DoormanProcess = DoormanProcess.start({
        sys,
        identity,
        onReport: (report) => this.#reported(report),
        onEnd: (why) => this.#failed(why),
        onGone: () => {
          this.#ending.ended(process);
          this.#options.onProcesses();
          this.#tellClear();
        },
      });
      this.#process = process;
      this.#options.onProcesses();
      this.#unready = setTimeout(() => this.#failed("it did not start in time"), limits.start).unref();
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      this.#failed(error.message);
    }
  }

  /** Its process ends, and with it all that it has. */
  #stop(): void {
    clearTimeout(this.#unready);
    clearTimeout(this.#retry);
    clearTimeout(this.#late);
    this.#retry = undefined;
    this.#late = undefined;
    this.#readyAt = undefined;
    this.#drops.clear();
    this.#asks.giveUp();
    for (const watched of this.#guests.values()) watched.takeAway();
    if (this.#process === undefined) return;
    this.#process.kill();
    this.#ending.add(this.#process);
    this.#process = undefined;
  }

  #reported(report: Report): void {
    if (report.report === "ready") {
      clearTimeout(this.#unready);
      this.#readyAt = performance.now();
      this.#flush();
    } else if (report.report === "wake") {
      const watched = this.#guests.get(report.watch);
      if (watched?.wake() === true) watched.guest.onWake(report.index, watched.state === "woken");
    } else if (report.report === "served") {
      this.#guests.get(report.watch)?.guest.onServed?.();
    } else if (report.report === "players") {
      this.#asks.answered(report.ask, report.players);
      this.#flush();
    } else if (this.#drops.done(report.number) && this.#drops.isClear) {
      clearTimeout(this.#late);
      this.#late = undefined;
      this.#tellClear();
    }
  }

  #tellClear(): void {
    if (!this.#isClear) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Sends what is to be sent, in this order, and tries again if there is no room. */
  #flush(): void {
    if (this.#process === undefined || this.#readyAt === undefined || this.#retry !== undefined) return;
    this.#asks.flush(this.#process);
    if (this.#sendDrops(this.#process) && this.#sendGuests(this.#process)) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#flush();
    }, RETRY_MS).unref();
  }

  /** Whether it took them all. */
  #sendDrops(process: DoormanProcess): boolean {
    if (this.#drops.isDue) {
      const { drop } = this.#options.limits;
      this.#late ??= setTimeout(() => this.#failed("it did not leave a berth in time"), drop).unref();
    }
    return this.#drops.flush(process);
  }

  /** As {@link #sendDrops}. */
  #sendGuests(process: DoormanProcess): boolean {
    if (this.#isWithdrawn) return true;
    for (const [watch, watched] of this.#guests) {
      if (watched.state !== "waiting") continue;
      const sent = watched.give(watch, process, this.#options.taps);
      if (isFull(sent)) return false;
      if (sent < 0) this.#leaveAlone(watch, watched);
    }
    return true;
  }

  /** Not inside of the call that asked. */
  #leaveAlone(id: number, watched: Housed): void {
    watched.state = "alone";
    setImmediate(() => {
      if (this.#guests.get(id) === watched && watched.state === "alone") watched.guest.onAlone();
    });
  }

  #failed(why: string): void {
    const { log, limits, identity } = this.#options;
    this.#stop();
    const isSettled = performance.now() - this.#startedAt >= limits.settled;
    this.#failures = isSettled ? 1 : this.#failures + 1;
    const delay = Math.min(limits.firstDelay * 2 ** (this.#failures - 1), limits.longestDelay);
    const meanwhile = "any packet starts its sleeping servers, and joins of draining ones wait";
    log("warning", `a doorman ended: ${why}; for ${delay / 1000} s ${meanwhile}`, {
      event: "doorman",
      ...(identity !== undefined && { uid: identity.uid }),
      reason: why,
    });
    for (const [id, watched] of this.#guests) this.#leaveAlone(id, watched);
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#restart(), delay).unref();
    this.#tellClear();
  }

  #restart(): void {
    this.#again = undefined;
    if (this.#guests.size === 0) return;
    this.#start();
    if (this.#process === undefined) return;
    for (const watched of this.#guests.values()) {
      if (watched.state !== "alone") continue;
      watched.state = "waiting";
      watched.guest.onAgain();
    }
    this.#flush();
  }
}
