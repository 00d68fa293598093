/**
 * Receives the binds that the kernel reports of one server. While paused, another reader with the same two descriptors,
 * in this process or another, can go on. interception.ts decides the answers.
 */
import { check, SysError } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { BindReport, Interceptor } from "../../native-interceptor.ts";

const NO_RECORD = -1;

/** The seccomp listener, and the memfd that records the call being answered, if there is one. */
type Pair = readonly [notify: FdHandle, record: FdHandle] | readonly [notify: FdHandle];

/** A memfd that records the call being answered. Throws SYSTEM_ERROR. */
export function bindRecord(sys: Native): FdHandle {
  return FdHandle.adopt(check("memfd_create", sys.memfd("berth-binds")), sys);
}

export class BindReports {
  readonly #sys: Native;
  readonly #onReport: (report: BindReport | null) => void;
  readonly #onStray: (report: BindReport) => void;
  #interceptor: Interceptor;
  /** What has no answer yet. */
  #current: BindReport | undefined;
  /** Their numbers. The interceptor owns these two until it is closed. */
  #fds: readonly number[] = [];
  /** Our own duplicates, while paused. */
  #paused: Pair | undefined;

  /**
   * Takes ownership of both descriptors. `onStray` owns the stray descriptor of a report. Throws SYSTEM_ERROR when
   * there is no thread or descriptor for it.
   */
  constructor(
    notify: FdHandle,
    record: FdHandle | undefined,
    onReport: (report: BindReport | null) => void,
    onStray: (report: BindReport) => void,
    sys: Native,
  ) {
    this.#sys = sys;
    this.#onReport = onReport;
    this.#onStray = onStray;
    this.#interceptor = this.#begin(record === undefined ? [notify] : [notify, record]);
  }

  /** Whether this report still waits for its answer. So long its socket is open. */
  awaits(report: BindReport): boolean {
    return this.#current === report;
  }

  /** Answers the last report: see {@link Interceptor.answer}. */
  answer(verdict: number, socket: number): void {
    this.#current = undefined;
    this.#interceptor.answer(verdict, socket);
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
    this.#interceptor.close();
    if (this.#paused !== undefined) closeAll(this.#paused);
    this.#paused = undefined;
    this.#fds = [];
  }

  #begin([notify, record]: Pair): Interceptor {
    this.#fds = [notify.fd, ...(record === undefined ? [] : [record.fd])];
    const interceptor = new this.#sys.Interceptor(
      notify.steal(),
      // A report without an answer before the pause is reported again.
      (report) => {
        if (report !== null && report.stray >= 0) this.#onStray(report);
        if (interceptor !== this.#interceptor || this.#paused !== undefined) return;
        this.#current = report ?? undefined;
        this.#onReport(report);
      },
      record?.steal() ?? NO_RECORD,
    );
    const result = interceptor.start();
    if (result >= 0) return interceptor;
    interceptor.close();
    this.#fds = [];
    throw new SysError("pthread_create", -result);
  }
}
