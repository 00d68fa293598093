/**
 * Does what a peer or tenant could make wait: receiving, examining and closing descriptors that somebody else has or
 * had, and calls on such sockets. Each user has worker processes of its own. If one gets stuck it is that user's loss:
 * the process is killed, or left behind if not even SIGKILL ends its wait (docs/security.md).
 */

import type { FdCalls, FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { type GuardedMessage, guardedMessage } from "./guarded-message.ts";
import { Keeper } from "./keeper.ts";
import { keyOf, type Owner } from "./owner.ts";
import {
  DROP,
  decodeResults,
  encodeReceive,
  encodeRun,
  encodeWords,
  FINISHED,
  type GuardCall,
  type GuardResult,
  HOLD,
  type ReceiveMode,
} from "./protocol.ts";
import { StuckWorkers } from "./stuck-workers.ts";
import { GuardWorker, type GuardWorkerOptions, type NoReply } from "./worker.ts";
import { Zygote } from "./zygote.ts";

export type { GuardedMessage } from "./guarded-message.ts";
export type { Owner } from "./owner.ts";
export type { GuardCall, GuardResult, ReceivedMessage, ReceiveMode } from "./protocol.ts";

export interface GuardOptions {
  readonly sys: Native;
  readonly log: Log;
}

/** Workers at once, stuck ones not counted. Idle ones make room. */
const MAX_WORKERS = 128;
/** A worker without work ends after this many milliseconds. */
const IDLE_MS = 1000;
/** The least time between two starts of the zygote, in milliseconds. One that cannot run must not slow each message. */
const START_INTERVAL_MS = 1000;
/** When to try again to close what no worker has taken, in milliseconds. */
const RETRY_MS = 50;

const NO_FDS = new Int32Array(0);

export class Guard implements Disposable {
  readonly #sys: Native;
  readonly #log: Log;
  readonly #workers = new Map<string, GuardWorker>();
  readonly #stuck = new StuckWorkers();
  /** Has copies of what the broker shares with tenants. */
  readonly keeper: Keeper;
  /** Descriptors that are still to be closed. */
  readonly #unclosed: { readonly owner: Owner; readonly fd: number }[] = [];
  #zygote: Zygote | undefined;
  #startedAt = Number.NEGATIVE_INFINITY;
  #retry: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #closed = false;

  /** Starts nothing yet. */
  constructor({ sys, log }: GuardOptions) {
    this.#sys = sys;
    this.#log = log;
    this.keeper = new Keeper({ sys, log, zygote: () => this.#ready() });
  }

  /** Starts the guard's process ahead of its first use. Without one, descriptors are refused: the log says why. */
  start(): void {
    this.#ready();
  }

  /** Workers that did not answer, were killed, and have not ended. */
  get stuck(): number {
    return this.#stuck.count;
  }

  /**
   * Whether messages are received for the owner: it has not made too many workers wait. Those of {@link run} do not
   * count, for a server that root has started holds up root's workers there.
   */
  trusts(owner: Owner): boolean {
    return !this.#stuck.isExhausted(keyOf(owner, false));
  }

  /**
   * Reads one message with at most `most` descriptors from a socket that is borrowed until this resolves. Undefined
   * when no worker can be had, or the owner has made it wait.
   */
  receive(owner: Owner, socket: number, mode: ReceiveMode, most: number): Promise<GuardedMessage | undefined> {
    const worker = this.trusts(owner) ? this.#worker(owner, false) : undefined;
    return new Promise((resolve) => {
      if (worker === undefined) return resolve(undefined);
      const id = worker.nextId();
      const onReply = (reply: Buffer | NoReply, fds: readonly FdHandle[]): void => {
        if (typeof reply === "string") return resolve(undefined);
        if (reply.readInt32LE(4) === FINISHED) return;
        resolve(guardedMessage(reply, fds));
      };
      if (worker.request(id, encodeReceive(id, mode, most), Int32Array.of(socket), onReply, 2) < 0) resolve(undefined);
    });
  }

  /**
   * Carries out calls on borrowed descriptors, in their order, in one round. Calls `hear` once, now or later. "stuck":
   * they took too long, and the worker was killed; `onFreed` is called when it has ended, and trying again makes sense.
   * "unavailable": no worker did anything, or too many of this owner's wait already. Without `onFreed` that is "stuck".
   */
  ask(
    owner: Owner,
    fds: readonly number[],
    calls: readonly GuardCall[],
    hear: (results: readonly GuardResult[] | NoReply) => void,
    onFreed?: () => void,
  ): void {
    const isExhausted = this.#stuck.isExhausted(keyOf(owner, true));
    const worker = isExhausted ? undefined : this.#worker(owner, true);
    if (worker === undefined) return hear(isExhausted && onFreed === undefined ? "stuck" : "unavailable");
    const id = worker.nextId();
    const onReply = (reply: Buffer | NoReply): void => {
      if (reply === "stuck") worker.onFreed = onFreed;
      hear(typeof reply === "string" ? reply : (decodeResults(reply.subarray(8), calls.length) ?? "unavailable"));
    };
    if (worker.request(id, encodeRun(id, calls), new Int32Array(fds), onReply) < 0) hear("unavailable");
  }

  /** As {@link ask}, as a promise, and without `onFreed`. */
  run(owner: Owner, fds: readonly number[], calls: readonly GuardCall[]): Promise<readonly GuardResult[] | NoReply> {
    return new Promise((resolve) => this.ask(owner, fds, calls, resolve));
  }

  /**
   * Asks what `encode` makes, about borrowed descriptors and `spent` ones. Owns those, and has them closed.
   * The reply, or why there is none, is as of {@link ask}.
   */
  spend(
    owner: Owner,
    encode: (id: number) => Uint8Array,
    borrowed: readonly number[],
    spent: readonly number[],
  ): Promise<Buffer | NoReply> {
    const isExhausted = this.#stuck.isExhausted(keyOf(owner, true));
    const worker = isExhausted ? undefined : this.#worker(owner, true);
    return new Promise((resolve) => {
      const id = worker?.nextId() ?? 0;
      const fds = Int32Array.of(...borrowed, ...spent);
      const onReply = (reply: Buffer | NoReply): void =>
        resolve(typeof reply === "string" ? reply : Buffer.from(reply));
      if (worker === undefined || worker.request(id, encode(id), fds, onReply) < 0) {
        for (const fd of spent) this.close(owner, fd);
        return resolve(isExhausted ? "stuck" : "unavailable");
      }
      // The worker keeps them, so this closes none for the last time: as in #pass.
      for (const fd of spent) this.#sys.close(fd);
      this.#drop(worker);
    });
  }

  /** Takes ownership of a descriptor and has it closed. It leaves this process at once. */
  close(owner: Owner, fd: number): void {
    if (!this.#pass(owner, fd)) this.#postpone(owner, fd);
  }

  /** The calls for handles of what the owner has or had. */
  callsOf(owner: Owner): FdCalls {
    return {
      close: (fd) => this.#sys.close(fd),
      dup: (fd) => this.#sys.dup(fd),
      closeForeign: (fd) => {
        this.close(owner, fd);
        return 0;
      },
    };
  }

  /** A copy of the system calls whose `closeForeign` is this guard's. */
  guarded(): Native {
    return { ...this.#sys, ...this.callsOf("broker") };
  }

  /** Workers carry out what they were asked, and end. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#sweep);
    this.keeper.close({ waits: false });
    for (const { owner, fd } of this.#unclosed.splice(0)) if (!this.#pass(owner, fd)) this.#sys.closeForeign(fd);
    for (const worker of [...this.#workers.values()]) worker.close();
    this.#workers.clear();
    this.#stuck.forget();
    this.#zygote?.close();
    this.#zygote = undefined;
  }

  /**
   * The worker gets the descriptor, then this process closes its own, which is not the last: closing cannot wait. Only
   * then is the worker told to close it.
   */
  #pass(owner: Owner, fd: number): boolean {
    const worker = this.#worker(owner, false);
    if (worker === undefined || worker.tell(encodeWords(HOLD, 0), Int32Array.of(fd)) < 0) return false;
    this.#sys.close(fd);
    this.#drop(worker);
    return true;
  }

  #drop(worker: GuardWorker): void {
    const id = worker.nextId();
    // If the channel is full the next close tells it, or its end.
    worker.request(id, encodeWords(DROP, id), NO_FDS, () => this.#closeAgain());
  }

  /** No worker takes it: its channel is full, or there is none. Then a thread of this process waits. */
  #postpone(owner: Owner, fd: number): void {
    const hasWorker = this.#worker(owner, false) !== undefined;
    if (!hasWorker && (this.#sys.closeForeign(fd) >= 0 || this.#closed)) return;
    this.#unclosed.push({ owner, fd });
    this.#retry ??= setTimeout(() => this.#closeAgain(), RETRY_MS).unref();
  }

  #closeAgain(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    for (const { owner, fd } of this.#unclosed.splice(0)) this.close(owner, fd);
  }

  #worker(owner: Owner, keepNetAdmin: boolean): GuardWorker | undefined {
    const key = keyOf(owner, keepNetAdmin);
    const known = this.#workers.get(key);
    if (known !== undefined && !known.ended) return known;
    if (this.#workers.size >= MAX_WORKERS && !this.#endIdle(0)) return undefined;
    const zygote = this.#ready();
    if (zygote === undefined) return undefined;
    const forget = (worker: GuardWorker): void => {
      if (this.#workers.get(key) === worker) this.#workers.delete(key);
    };
    const options: GuardWorkerOptions = {
      sys: this.#sys,
      received: this.callsOf(owner),
      onStuck: (stuck) => {
        forget(stuck);
        this.#leaveBehind(owner, key, stuck);
      },
      onEnd: (ended) => {
        forget(ended);
        this.#stuck.delete(key, ended);
      },
    };
    const worker = GuardWorker.fork(zygote, keepNetAdmin, options);
    if (worker === undefined) return undefined;
    this.#workers.set(key, worker);
    this.#sweep ??= setInterval(() => this.#endIdle(IDLE_MS), IDLE_MS).unref();
    return worker;
  }

  #leaveBehind(owner: Owner, key: string, worker: GuardWorker): void {
    this.#stuck.add(key, worker);
    const whose = typeof owner === "number" ? `a descriptor of uid ${owner}` : "a descriptor of no single user";
    this.#log("warning", `${whose} made a guard process wait too long; the process is killed`, {
      event: "guard-stuck",
      ...(typeof owner === "number" && { uid: owner }),
      stuck: this.stuck,
    });
  }

  /** Ends workers that have had nothing to do for so long. Returns whether there were any. */
  #endIdle(milliseconds: number): boolean {
    const before = performance.now() - milliseconds;
    const idle = [...this.#workers].filter(([, worker]) => !worker.busy && worker.idleSince <= before);
    for (const [key, worker] of idle) {
      this.#workers.delete(key);
      worker.close();
    }
    return idle.length > 0;
  }

  #ready(): Zygote | undefined {
    if (this.#closed) return undefined;
    if (this.#zygote !== undefined && !this.#zygote.ended) return this.#zygote;
    const now = performance.now();
    if (now - this.#startedAt < START_INTERVAL_MS) return undefined;
    this.#startedAt = now;
    try {
      this.#zygote = Zygote.start(this.#sys);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#zygote = undefined;
      this.#log("warning", `cannot start berth-guard: ${error.message}; clients cannot pass descriptors`, {
        event: "guard",
      });
    }
    return this.#zygote;
  }
}
