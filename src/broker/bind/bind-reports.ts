/**
 * Receives the binds that the kernel reports of one server. While paused, another reader with the same two descriptors,
 * in this process or another, can go on. interception.ts decides the answers.
 */
import { setTimeout as pause } from "node:timers/promises";
import { check, SysError } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { BindReport, EpollReport, Interceptor, Told } from "../../native-interceptor.ts";

const NO_RECORD = -1;
const NO_SOCKET = -1;

/** When to look again. To change a socket takes microseconds, or two seconds if somebody holds it up. */
const CHANGED_MS = 2;

/** The seccomp listener, and the memfd that records the call being answered, if there is one. */
type Pair = readonly [notify: FdHandle, record: FdHandle] | readonly [notify: FdHandle];

/** A memfd that records the call being answered. Throws SYSTEM_ERROR. */
export function bindRecord(sys: Native): FdHandle {
  return FdHandle.adopt(check("memfd_create", sys.memfd("berth-binds")), sys);
}

/** A bind whose answer is known ahead of time: see {@link Interceptor.foresee}. */
export interface ForeseenBind {
  readonly held: number;
  readonly sockaddr: Uint8Array;
  readonly network: number;
  readonly calls: Uint8Array;
  readonly kind: { readonly domain: number; readonly type: number; readonly variations: Int32Array };
  /** 0 for the first bind of the held socket, else how long it may be answered, and how often all such binds. */
  readonly againMs: number;
  readonly times: number;
}

/** What a server got by such a bind. */
export interface DeliveredBind extends Binder {
  readonly id: number;
  /** The places of the calls that gave something else than expected. */
  readonly varied: Int32Array;
  /** Resolves when the held socket is no longer being changed; undefined if it is not. */
  readonly changing: Promise<void> | undefined;
}

/** Where such a bind was made. */
export type Binder = Pick<BindReport, "pid" | "thread" | "fd">;

export interface BindReportsOptions {
  readonly sys: Native;
  /** A bind that waits for its answer, or null: no process has the filter any more. */
  readonly onReport: (report: BindReport | null) => void;
  /** That bind was answered as foreseen. */
  readonly onDelivered: (bind: DeliveredBind) => void;
  /** Somebody held up the held socket of the last one, which failed. */
  readonly onStuck: () => void;
  /** Owns the report's epolls. Resolves with 0, or an errno for the server. Called also while paused. */
  readonly onEpolls: (report: EpollReport) => Promise<number>;
  /** Owns a descriptor of the process. */
  readonly onStray: (pid: number, fd: number) => void;
}

export class BindReports {
  readonly #options: BindReportsOptions;
  readonly #sys: Native;
  #interceptor: Interceptor;
  /** What has no answer yet. */
  #current: BindReport | undefined;
  /** Their numbers. The interceptor owns these two until it is closed. */
  #fds: readonly number[] = [];
  /** Our own duplicates, while paused. */
  #paused: Pair | undefined;

  /** Takes ownership of both descriptors. Throws SYSTEM_ERROR when there is no thread or descriptor for it. */
  constructor(notify: FdHandle, record: FdHandle | undefined, options: BindReportsOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.#interceptor = this.#begin(record === undefined ? [notify] : [notify, record]);
  }

  /** Whether this report still waits for its answer. So long its socket is open. */
  awaits(report: BindReport): boolean {
    return this.#current === report;
  }

  /** Answers the last report: see {@link Interceptor.answer}. */
  answer(verdict: number, socket: number, forgets: boolean): void {
    this.#current = undefined;
    this.#interceptor.answer(verdict, socket, forgets);
  }

  /** Answers this bind without a report, once. */
  foresee(id: number, { held, sockaddr, network, calls, kind, againMs, times }: ForeseenBind): void {
    const { domain, type, variations } = kind;
    if (this.#paused === undefined)
      this.#interceptor.foresee(id, held, sockaddr, network, calls, domain, type, variations, againMs, times);
  }

  /** See {@link Interceptor.inquire}. A thread that takes over is not told. */
  inquire(id: number, domain: number, type: number, calls: Uint8Array): void {
    if (this.#paused === undefined) this.#interceptor.inquire(id, domain, type, calls);
  }

  /** Foresees nothing any more. Those that were answered until now are told of first. */
  forget(): void {
    this.#interceptor.forget();
    this.#tellDone(this.#interceptor);
  }

  /** Reports nothing until {@link resume}. If that fails, it goes on and throws SYSTEM_ERROR. Idempotent. */
  pause(): void {
    if (this.#paused !== undefined) return;
    const pair: FdHandle[] = [];
    try {
      for (const fd of this.#fds)
        pair.push(FdHandle.adopt(check("fcntl F_DUPFD_CLOEXEC", this.#sys.dup(fd)), this.#sys));
      const [notify, record] = pair;
      if (notify === undefined) return;
      this.#paused = record === undefined ? [notify] : [notify, record];
    } finally {
      if (this.#paused === undefined) closeAll(pair);
    }
    this.#current = undefined;
    this.forget();
    this.#interceptor.close();
  }

  /** Whether, after {@link pause}, no thread can receive a call any more. A server can delay this. */
  get resting(): boolean {
    return this.#paused !== undefined && this.#interceptor.ended();
  }

  /** Both descriptors, borrowed. Another process may use them while this one is paused. */
  get descriptors(): readonly number[] {
    return this.#paused?.map(({ fd }) => fd) ?? this.#fds;
  }

  /** Goes on, first with the call that was being answered. Throws SYSTEM_ERROR. */
  resume(): void {
    const pair = this.#paused;
    if (pair === undefined) return;
    this.#paused = undefined;
    this.#interceptor = this.#begin(pair);
  }

  close(): void {
    this.#current = undefined;
    this.forget();
    this.#interceptor.close();
    if (this.#paused !== undefined) closeAll(this.#paused);
    this.#paused = undefined;
    this.#fds = [];
  }

  /** Of what the thread has done by itself since the last time. */
  #tellDone(interceptor: Interceptor): void {
    const spent = interceptor.spent();
    for (let at = 0; at < spent.length; at += 2) this.#options.onStray(spent[at] ?? 0, spent[at + 1] ?? -1);
    const numbers = interceptor.delivered();
    const changing = interceptor.changing() ? changed(interceptor) : undefined;
    for (let at = 0; at < numbers.length; ) {
      const [id = -1, pid = 0, thread = 0, fd = -1, count = 0] = numbers.subarray(at, at + 5);
      at += 5 + count;
      this.#options.onDelivered({ id, pid, thread, fd, varied: numbers.subarray(at - count, at), changing });
    }
  }

  #begin([notify, record]: Pair): Interceptor {
    this.#fds = [notify.fd, ...(record === undefined ? [] : [record.fd])];
    const interceptor = new this.#sys.Interceptor(
      notify.steal(),
      (told) => this.#hear(told, interceptor),
      record?.steal() ?? NO_RECORD,
    );
    const result = interceptor.start();
    if (result >= 0) return interceptor;
    interceptor.close();
    this.#fds = [];
    throw new SysError("pthread_create", -result);
  }

  #hear(told: Told, from: Interceptor): void {
    const { onReport, onEpolls, onStray, onStuck } = this.#options;
    // First: what comes next may be the end, or a further bind of the same socket.
    this.#tellDone(from);
    if (told !== null && "isStuck" in told) return told.isStuck ? onStuck() : undefined;
    if (told !== null && "epolls" in told) {
      for (const stray of told.strays) onStray(told.pid, stray);
      return void onEpolls(told).then((value) => from.answer(value, NO_SOCKET, false));
    }
    if (told !== null && told.stray >= 0) onStray(told.pid, told.stray);
    // A report without an answer before the pause is reported again.
    if (from !== this.#interceptor || this.#paused !== undefined) return;
    this.#current = told ?? undefined;
    onReport(told);
  }
}

async function changed(interceptor: Interceptor): Promise<void> {
  while (interceptor.changing()) await pause(CHANGED_MS);
}
