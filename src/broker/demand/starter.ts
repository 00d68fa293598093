/**
 * Starts the server of one berth when a packet or connection arrives. After each failed start it waits longer before
 * the next one. It grants no lease: the started server takes the berth like any other tenant.
 *
 *   waiting → queued → starting → running → ending → waiting
 *                          └────────────────────┴──→ failed → waiting
 */

import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { BerthEvents } from "../berths/berth/berth-events.ts";
import type { StartView } from "../berths/berth/berth-view.ts";
import type { Doormen } from "./doorman/doormen.ts";
import type { Run, Runner, RunResult } from "./runner.ts";
import { SleepWatch } from "./sleep-watch.ts";

/** Times are milliseconds. */
export interface StartLimits {
  /** How many servers start at once. Others are queued. */
  readonly concurrent: number;
  /** A server that keeps its berth this long has started. One that ends earlier has failed. */
  readonly settle: number;
  /** Delay after a failed start. It doubles with every further failure in a row, up to the longest delay. */
  readonly firstDelay: number;
  readonly longestDelay: number;
  /** How long a server may take to acquire its berth. */
  readonly timeout: number;
  /** How long a server may take to exit after SIGTERM, before SIGKILL. */
  readonly patience: number;
}

export const DEFAULT_START_LIMITS: StartLimits = {
  concurrent: 8,
  settle: 10_000,
  firstDelay: 1000,
  longestDelay: 300_000,
  timeout: 90_000,
  patience: 10_000,
};

/** What a starter needs from the rest of the broker. */
export interface StarterContext {
  readonly sys: Native;
  readonly log: Log;
  readonly runner: Runner;
  readonly limits: StartLimits;
  readonly events: BerthEvents;
  /** A socket of a vacant berth was shut down: it is to be set right. */
  readonly onHangUp: (berth: Berth, fd: number) => void;
  /** Undefined: the broker watches itself. */
  readonly doormen?: Doormen;
  /** Calls {@link Starter.start} when few enough other servers are starting. */
  readonly enqueue: (starter: Starter) => void;
  /** Removes it from the queue and from those that are starting. */
  readonly dequeue: (starter: Starter) => void;
}

type Phase = StartView["state"] | "ending";

/** Milliseconds to wait until it is known how a server ended. */
const INQUIRY_TIMEOUT_MS = 5000;
const ASK_INTERVAL_MS = 500;

/** The current start, or the one that the present tenant came from. */
interface Current {
  readonly run: Run;
  /** Set once its process has ended. */
  outcome?: RunResult;
}

export class Starter {
  readonly berth: Berth;
  readonly #context: StarterContext;
  readonly #arrivals: SleepWatch;
  #phase: Phase = "waiting";
  #current: Current | undefined;
  /** The end of the current delay or timeout. */
  #timer: NodeJS.Timeout | undefined;
  /** When the berth was acquired, by performance.now(). */
  #since = 0;
  #failures = 0;
  /** How the last failed start ended. */
  #failure: RunResult | undefined;
  #isStopped = false;
  #isPaused = false;
  /** Stops that are under way. */
  #holds = 0;

  constructor(berth: Berth, context: StarterContext) {
    this.berth = berth;
    this.#context = context;
    this.#arrivals = new SleepWatch(context.sys, berth, context.doormen, {
      onWake: (fd) => this.#wake(fd),
      onHangUp: (fd) => context.onHangUp(berth, fd),
    });
    if (berth.state === "vacant") this.#wait();
    else this.#occupied();
  }

  /** The broker stops the server, so its exit is not a failure. */
  expectEnd(): void {
    this.#isStopped = true;
  }

  /** Starts nothing until {@link release}: the client that stops the server may want to take the berth afterwards. */
  hold(): void {
    this.#holds++;
    this.#arrivals.end();
  }

  release(): void {
    this.#holds--;
    if (this.#phase === "waiting") this.#arm();
  }

  /** Watches no socket until {@link resume}: sockets may be closed meanwhile. */
  pause(): void {
    this.#isPaused = true;
    this.#arrivals.end();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#phase === "waiting") this.#arm();
  }

  /** Call it when the berth may have been acquired or become vacant, or its sockets are to be or were set right. */
  update(): void {
    const isVacant = this.berth.state === "vacant";
    if (!isVacant && this.#phase !== "running") this.#occupied();
    if (isVacant && this.#phase === "running") this.#vacated();
    else if (this.#phase === "waiting") this.#watch();
  }

  /** Starts the server: it is first in the queue. */
  start(): void {
    const { runner, limits, log, events } = this.#context;
    const { name } = this.berth;
    this.#enter("starting");
    log("info", `berth ${name}: a packet or connection arrived; starting the server`, {
      event: "starting",
      berth: name,
    });
    const current: Current = {
      run: runner.start(name, (outcome) => {
        if (this.#current === current) this.#ended(outcome);
      }),
    };
    this.#current = current;
    this.#inquire(limits.timeout, { reason: `it did not acquire the berth within ${limits.timeout / 1000} s` });
    events.tell("starting", this.berth);
  }

  /** Starts nothing any more. A running server keeps running. */
  close(): void {
    this.#arrivals.end();
    clearTimeout(this.#timer);
    this.#current = undefined;
    this.#context.dequeue(this);
    this.berth.start = undefined;
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    clearTimeout(this.#timer);
    this.#arrivals.disarm();
    if (phase !== "queued" && phase !== "starting") this.#context.dequeue(this);
    this.#show();
  }

  #show(next?: number): void {
    this.berth.start = {
      state: this.#phase === "ending" ? "running" : this.#phase,
      failures: this.#failures,
      ...(this.#failures > 0 && this.#failure),
      ...(next !== undefined && { next: next * 1000 }),
    };
  }

  #wait(): void {
    this.#current = undefined;
    this.#isStopped = false;
    this.#enter("waiting");
    this.#arm();
  }

  /** A process of an earlier server may shut a socket down while it is watched: then it is set right, too. */
  #watch(): void {
    if (!this.#isReady) this.#arrivals.end();
    else if (!this.#arrivals.armed) this.#arm();
  }

  #arm(): void {
    if (!this.#isPaused && this.#holds === 0 && this.#isReady) this.#arrivals.arm(this.#fds);
  }

  /** A socket that is set right may be opened again, and nobody gets the berth before. Then there is an update. */
  get #isReady(): boolean {
    return this.berth.sockets.every(({ socket }) => socket.due === undefined);
  }

  /** Nobody can come to a socket that is lost. A doorman would have it wake the server for ever, and watch no other. */
  get #fds(): number[] {
    return this.berth.sockets.flatMap(({ socket }) => (socket.lost === undefined ? socket.fd : []));
  }

  #wake(fd: number): void {
    const woken = this.berth.sockets.find(({ socket }) => socket.fd === fd);
    const cause = woken?.socket.listen.kind === "datagram" ? "datagram" : "connection";
    this.berth.counts.wakes[cause]++;
    this.berth.wake = { at: Date.now() * 1000, cause, ...(woken !== undefined && { socket: woken.name }) };
    this.#enter("queued");
    this.#context.enqueue(this);
  }

  #occupied(): void {
    this.#enter("running");
    this.#since = performance.now();
    if (this.#failures === 0) return;
    this.#timer = setTimeout(() => {
      this.#failures = 0;
      this.#show();
      this.#context.events.tell("changed", this.berth);
    }, this.#context.limits.settle);
  }

  #vacated(): void {
    if (this.#isStopped) this.#failures = 0;
    // We stopped it ourselves, or did not start it.
    if (this.#isStopped || this.#current === undefined) return this.#wait();
    this.#enter("ending");
    const { run, outcome } = this.#current;
    if (outcome !== undefined) return this.#ended(outcome);
    this.#inquire(INQUIRY_TIMEOUT_MS, { reason: "it released the berth" });
    run.inquire();
  }

  /** Checks from time to time how it ended. After a time limit, takes `otherwise` as the answer. */
  #inquire(timeout: number, otherwise: RunResult): void {
    const deadline = performance.now() + timeout;
    const ask = (): void => {
      if (performance.now() >= deadline) return this.#ended(otherwise);
      this.#current?.run.inquire();
      this.#timer = setTimeout(ask, Math.min(ASK_INTERVAL_MS, timeout));
    };
    this.#timer = setTimeout(ask, Math.min(ASK_INTERVAL_MS, timeout));
  }

  #ended(outcome: RunResult): void {
    if (this.#current !== undefined) this.#current.outcome = outcome;
    if (this.#phase === "starting") return this.#fail(outcome);
    if (this.#phase !== "ending") return;
    const hasServedLongEnough = performance.now() - this.#since >= this.#context.limits.settle;
    // A server that exits with 0 and leaves nothing unread may exit early: nothing would restart it at once.
    const isDone = outcome.status === 0 && !this.#arrivals.waits(this.#fds);
    if (!hasServedLongEnough && !isDone) return this.#fail(outcome);
    this.#failures = 0;
    this.#wait();
    this.#context.events.tell("changed", this.berth);
  }

  #fail(outcome: RunResult): void {
    const { limits, log, events } = this.#context;
    const { name } = this.berth;
    this.#current = undefined;
    this.#failure = outcome;
    this.#failures++;
    const delay = Math.min(limits.firstDelay * 2 ** (this.#failures - 1), limits.longestDelay);
    this.#enter("failed");
    this.#show(Date.now() + delay);
    log("warning", `berth ${name}: its server did not start: ${outcome.reason}; trying again in ${delay / 1000} s`, {
      event: "start-failed",
      berth: name,
      failures: this.#failures,
      reason: outcome.reason,
    });
    this.#timer = setTimeout(() => {
      this.#wait();
      events.tell("changed", this.berth);
    }, delay);
    events.tell("failed", this.berth);
  }
}
