/**
 * The binds that the kernel reports of one server, as long as they are answered here. They may be paused: what the server
 * waits for is then left to whoever goes on with the same two descriptors, in this process or another. What to answer is
 * decided in interception.ts.
 */
import { check, SysError } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import type { BindReport, Interceptor, Native } from "../../native.ts";

const NO_RECORD = -1;

/** The descriptor that reports, and the memfd that records what is being answered, if there is one. */
type Pair = readonly [notify: FdHandle, record: FdHandle] | readonly [notify: FdHandle];

/** A memfd to record in what is being answered. Throws SYSTEM_ERROR. */
export function bindRecord(sys: Native): FdHandle {
  return FdHandle.adopt(check("memfd_create", sys.memfd("berth-binds")), sys);
}

export class BindReports {
  readonly #sys: Native;
  readonly #onReport: (report: BindReport | null) => void;
  #interceptor: Interceptor;
  /** Their numbers: the interceptor's own, which stay open until it is closed. */
  #fds: readonly number[] = [];
  /** Ours, while paused. */
  #paused: Pair | undefined;

  /** Takes ownership of both descriptors. Throws SYSTEM_ERROR when there is no thread or descriptor for it. */
  constructor(
    notify: FdHandle,
    record: FdHandle | undefined,
    onReport: (report: BindReport | null) => void,
    sys: Native,
  ) {
    this.#sys = sys;
    this.#onReport = onReport;
    this.#interceptor = this.#begin(record === undefined ? [notify] : [notify, record]);
  }

  /** Answers the report that was last given: see {@link Interceptor.answer}. */
  answer(verdict: number, socket: number): void {
    this.#interceptor.answer(verdict, socket);
  }

  /** Reports nothing until {@link resume}. Throws SYSTEM_ERROR, and then goes on. Idempotent. */
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
    this.#interceptor.close();
  }

  /** Whether, after {@link pause}, nobody here can receive a call any more. A server may keep us waiting for that. */
  get resting(): boolean {
    return this.#paused !== undefined && this.#interceptor.ended();
  }

  /** Both descriptors, borrowed: to be given to others while nothing is answered here. */
  get descriptors(): readonly number[] {
    return this.#paused?.map(({ fd }) => fd) ?? this.#fds;
  }

  /** Goes on, beginning with what was being answered. Throws SYSTEM_ERROR. */
  resume(): void {
    const pair = this.#paused;
    if (pair === undefined) return;
    this.#paused = undefined;
    this.#interceptor = this.#begin(pair);
  }

  close(): void {
    this.#interceptor.close();
    if (this.#paused !== undefined) closeAll(this.#paused);
    this.#paused = undefined;
    this.#fds = [];
  }

  #begin([notify, record]: Pair): Interceptor {
    this.#fds = [notify.fd, ...(record === undefined ? [] : [record.fd])];
    const interceptor = new this.#sys.Interceptor(
      notify.steal(),
      // What one that was paused has still to tell is told once more by the next.
      (report) => interceptor === this.#interceptor && this.#paused === undefined && this.#onReport(report),
      record?.steal() ?? NO_RECORD,
    );
    const result = interceptor.start();
    if (result >= 0) return interceptor;
    interceptor.close();
    this.#fds = [];
    throw new SysError("pthread_create", -result);
  }
}
