/**
 * Bind delivery to one server: takes each bind(2) that the kernel reports, and answers it as bind-answers.ts decides.
 * Binds beyond a rate wait, and none is answered while it is paused.
 */
import { readlinkSync } from "node:fs";
import { constants } from "node:os";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { BindReport, EpollReport } from "../../native-interceptor.ts";
import { POLLHUP } from "../../net/socket-constants.ts";
import type { BindResult } from "../counts/berth-counts.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import { BindAnswers, type BindAnswersOptions } from "./bind-answers.ts";
import { BindReports, type DeliveredBind } from "./bind-reports.ts";
import { EpollCarrier } from "./epoll-carrier.ts";
import { ForeseenBinds } from "./foreseen-binds.ts";
import type { Given } from "./offers.ts";
import { userOf } from "./server/server-user.ts";
import { StateQuestions } from "./state-questions.ts";

const NO_SOCKET = -1;
const { EACCES, EADDRINUSE } = constants.errno;

/** Binds per second that are answered at once. More have to wait, so a flood only costs the server that floods. */
const BINDS_PER_SECOND = 200;
const DELAY_MS = 20;

export interface InterceptionOptions extends Omit<BindAnswersOptions, "awaits" | "onGiven"> {
  /** No process has the filter any more. */
  readonly onEnded: () => void;
}

/** What to tell who sends another descriptor than a seccomp listener. */
export const NO_LISTENER: string = "the descriptor is not a seccomp listener";

/** Whether a descriptor is a seccomp listener. A read from anything else could wait for ever. */
export function isNotifyDescriptor(fd: number): boolean {
  return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:seccomp notify";
}

export class Interception {
  readonly #sys: Native;
  readonly #reports: BindReports;
  readonly #answers: BindAnswers;
  readonly #foreseen: ForeseenBinds;
  readonly #questions: StateQuestions;
  readonly #epolls: EpollCarrier;
  readonly #options: InterceptionOptions;
  /** Those of other filters of the same server, and what ends each. */
  readonly #joined = new Map<Interception, () => void>();
  /** Reports that are being decided or carried out; more than one only after a pause. */
  #deciding = 0;
  #second = 0;
  #binds = 0;
  #delay: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * Takes ownership of the notify descriptor, and of the memfd that records what is being answered, if there is one.
   * Throws SYSTEM_ERROR when there is no thread or descriptor for it. `answers` are those of the same server.
   */
  constructor(
    notify: FdHandle,
    record: FdHandle | undefined,
    options: InterceptionOptions,
    answers: BindAnswers = new BindAnswers({
      ...options,
      awaits: (call) => this.#awaits(call),
      onGiven: (given) => {
        this.#foreseen.withdraw(given.socket);
        this.#foreseeAgain(given);
      },
    }),
    isFirstFilter = true,
  ) {
    const { guard, sys } = options;
    this.#sys = sys;
    this.#options = options;
    this.#reports = new BindReports(notify, record, {
      sys,
      onReport: (call) => {
        if (call === null) options.onEnded();
        else if (!this.#closed) this.#throttle(call);
      },
      onDelivered: (bind) => this.#note(bind),
      onStuck: () => this.#answers.noteUnanswered("stuck"),
      onEpolls: (call) => this.#carry(call),
      onStray: (pid, fd) => guard.close(userOf(pid), fd),
    });
    this.#answers = answers;
    const { offers } = answers;
    const isFirst = (socket: HeldSocket): boolean => answers.isFirst(socket);
    this.#foreseen = new ForeseenBinds({ ...options, offers, isFirst, thread: this.#reports });
    this.#questions = new StateQuestions(sys, this.#reports);
    this.#questions.askOf(options.berth.sockets.map(({ socket }) => socket.listen));
    const note = (key: string, message: string): void => this.#answers.note("warning", key, message);
    this.#epolls = new EpollCarrier({ guard, note, isRestored: options.isRestored });
    if (isFirstFilter) void this.#foreseen.begin();
  }

  /** The berth or its lease has changed. */
  renew(): void {
    this.#foreseen.renew();
  }

  /**
   * Answers the binds of a process that has a filter of its own, as those of the server: it gets what the server may
   * get, and knows what the server has. Owns the descriptor. No later broker answers them. `onEnded` is called when no
   * process has that filter any more, or nobody answers. Throws SYSTEM_ERROR as the constructor.
   */
  join(notify: FdHandle, onEnded: () => void): void {
    const end = (): void => {
      if (!this.#joined.delete(other)) return;
      other.close();
      onEnded();
    };
    const other = new Interception(notify, undefined, { ...this.#options, onEnded: end }, this.#answers, false);
    // Two threads answer now, and both could give the same socket.
    this.#foreseen.close();
    this.#joined.set(other, end);
  }

  /** How many have joined. */
  get joined(): number {
    return this.#joined.size;
  }

  /** Answers nothing until {@link resume}. If that fails, it goes on and throws SYSTEM_ERROR. */
  pause(): void {
    for (const other of this.#joined.keys()) other.pause();
    this.#reports.pause();
    clearTimeout(this.#delay);
  }

  /** Answers binds again. If it throws SYSTEM_ERROR, it answers no more binds of this server. */
  resume(): void {
    for (const other of this.#joined.keys()) other.resume();
    this.#reports.resume();
  }

  /** Whether it is paused, and every call that it received is recorded, and none is being carried out. */
  get resting(): boolean {
    const isResting = this.#deciding === 0 && this.#reports.resting;
    return isResting && [...this.#joined.keys()].every((other) => other.resting);
  }

  /** What a successor needs, borrowed: the notify descriptor, and the record if there is one. */
  get descriptors(): readonly number[] {
    return this.#reports.descriptors;
  }

  /** Whether a process has the filter, as far as this broker can tell. */
  get isAlive(): boolean {
    const [notify] = this.descriptors;
    return notify !== undefined && (this.#sys.pollNow(notify, POLLHUP) & POLLHUP) === 0;
  }

  /** Answers no more binds. For processes that still have the filter, the bind fallback answers. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#delay);
    this.#foreseen.close();
    this.#reports.close();
    for (const end of this.#joined.values()) end();
  }

  #awaits(report: BindReport): boolean {
    return this.#reports.awaits(report) || [...this.#joined.keys()].some((other) => other.#reports.awaits(report));
  }

  /** A bind was answered as foreseen. */
  #note({ id, varied, changing, ...binder }: DeliveredBind): void {
    const bind = this.#foreseen.delivered(id, varied);
    if (bind === undefined) return;
    this.#binds++;
    bind.socket.carry(bind.before.names);
    if (changing !== undefined) {
      const { carrying } = bind.socket;
      carrying.add(changing);
      void changing.then(() => carrying.delete(changing));
    }
    this.#answers.given(bind, binder);
    if (bind.socket.open) this.#epolls.place(binder, bind.socket.fd);
    if (bind.isAgain !== true) this.#foreseeAgain(bind);
  }

  /** Until there is something to search for again, or the server has made too many binds. */
  #foreseeAgain(given: Given): void {
    const { unsearchedMs } = this.#answers;
    const times = BINDS_PER_SECOND - this.#binds;
    if (unsearchedMs > 0 && times > 0) this.#foreseen.again(given, unsearchedMs, times);
  }

  #throttle(report: BindReport): void {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#binds = 0;
    }
    if (++this.#binds <= BINDS_PER_SECOND) return void this.#serve(report);
    const message = `its server makes more than ${BINDS_PER_SECOND} binds a second; the rest wait`;
    this.#answers.note("warning", "flood", message);
    this.#delay = setTimeout(() => this.#serve(report), DELAY_MS).unref();
  }

  /** Answers, unless it is paused or closed meanwhile: then the next reader gets the same report. */
  async #serve(report: BindReport): Promise<void> {
    this.#deciding++;
    try {
      const { verdict, held } = await this.#answers.decide(report, this.#questions);
      if (!this.#reports.awaits(report)) return held?.close();
      const forgets = held !== undefined && this.#epolls.place(report, held.fd);
      if (held === undefined) this.#options.berth.counts.binds[resultOf(verdict)]++;
      this.#reports.answer(verdict, held?.steal() ?? NO_SOCKET, forgets);
    } finally {
      this.#deciding--;
    }
  }

  async #carry(report: EpollReport): Promise<number> {
    this.#deciding++;
    this.#binds++; // many epolls cost as much as many binds
    try {
      return await this.#epolls.carry(report);
    } finally {
      this.#deciding--;
    }
  }
}

/** What a bind came to that did not get a socket of the berth's. */
function resultOf(verdict: number): BindResult {
  if (verdict < 0) return "kernel";
  if (verdict === 0) return "own";
  return verdict === EACCES ? "refused" : verdict === EADDRINUSE ? "busy" : "failed";
}
