/**
 * Decides what a bind(2) of a server comes to: the held socket for that address, or what `server.other-binds` says. The
 * broker copies the arguments once, so later changes by the server do not count. An internet bind that is not the
 * berth's is handed back to the kernel only where all binds are allowed, or in another network namespace. This is no
 * sandbox (docs/security.md).
 */
import { fstatSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { BindReport } from "../../native-interceptor.ts";
import { type Address, formatAddress, formatListenAddress } from "../../net/address.ts";
import type { Guard } from "../guard/guard.ts";
import type { OwnSettings } from "../plans/carry-over.ts";
import { type Borrowed, runGuarded, type Unanswered } from "../plans/guarded-plan.ts";
import type { SocketPlan } from "../plans/socket-call.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import { reportFailures, unanswered } from "./bind-failures.ts";
import type { BindRequest } from "./bind-match.ts";
import type { Binder } from "./bind-reports.ts";
import { boundBy, FurtherBinds } from "./further-binds.ts";
import { type BindSource, type Given, isDualStack, type Offer, Offers } from "./offers.ts";
import { askedBy, decideOtherBind, explainRefusal, kernelPorts, nameAsked } from "./other-binds.ts";
import { addressOf } from "./server/asked-address.ts";
import { areApart, describeElsewhere, isInOtherNetwork } from "./server/other-network.ts";
import { bindPlan, makeOf, type SocketMake, type SocketState, statePlan } from "./server/own-socket.ts";
import { userOf } from "./server/server-user.ts";
import type { StateQuestions } from "./state-questions.ts";

const { EACCES, EADDRINUSE, EAFNOSUPPORT, EINVAL, EMFILE } = constants.errno;

/** What a bind(2) of the server comes to. */
export interface Answer {
  /** 0, an errno, or -1 to let the kernel carry out the call. */
  readonly verdict: number;
  /** What the server gets in the place of its own socket. */
  readonly held?: FdHandle;
}

/** The kernel carries out the call. */
const CONTINUE: Answer = { verdict: -1 };

/** How often and when to try again where no guard process can be had: for half a second in all. */
const MAX_TRIES = 10;
const RETRY_MS = 50;
/** Different refusals that are logged for one server. */
const MAX_LOGGED = 32;

export interface BindAnswersOptions {
  readonly berth: BindSource;
  readonly lease: { readonly ended: boolean };
  /** The network namespace in which the server was started, if that is known. */
  readonly network: number | undefined;
  readonly sys: Native;
  readonly guard: Pick<Guard, "run" | "spend" | "close">;
  readonly log: Log;
  /** Whether an earlier broker has served this server. */
  readonly isRestored: boolean;
  /** As in {@link FurtherBinds}. */
  readonly onReopened: (socket: string, sentences: readonly string[]) => void;
  readonly onCleaned: () => void;
  /** The server is about to get this socket, and {@link BindAnswers.isFirst} knows that. */
  readonly onGiven: (given: Given) => void;
  /** Whether the report still waits for its answer. So long its socket is open. */
  readonly awaits: (report: BindReport) => boolean;
}

const nothing: OwnSettings = { settings: [], flags: -1 };

/** The server's own socket. */
type OwnSocket = SocketMake & SocketState;

export class BindAnswers {
  readonly #options: BindAnswersOptions;
  readonly #sys: Native;
  readonly offers: Offers;
  readonly #further: FurtherBinds;
  readonly #logged = new Set<string>();

  constructor(options: BindAnswersOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.offers = new Offers(options.berth);
    this.#further = new FurtherBinds({
      ...options,
      run: (report, make) => this.#run(report, make),
      bind: (report, sockaddr) => this.#bindAt(report, sockaddr),
      note: (key, message) => this.note("warning", key, message),
    });
  }

  /** Resolves with the answer; it means nothing if nobody awaits it any more. `questions`: of the report's thread. */
  async decide(report: BindReport, questions: Pick<StateQuestions, "ask" | "answerIn">): Promise<Answer> {
    if (report.error !== 0) {
      const failure = reportFailures.get(report.error);
      if (failure !== undefined) this.note(...failure);
      return { verdict: report.error };
    }
    const make = makeOf(report.socket, this.#sys);
    if (make === undefined) return CONTINUE;
    if (this.#isElsewhere(report) && this.#isApart(report)) return this.#passOn(report, make);
    const found = await this.#stateOf(report, make, questions);
    if (typeof found === "string") return this.#unanswered(found);
    const own = { ...make, ...found };
    const address = addressOf(report.sockaddr, make.domain);
    if (report.recalled && this.#isDone(report.socket, own, address)) return { verdict: 0 };
    return make.isInet ? this.#answerInet(report, own, address) : this.#answerUnix(report, own, address);
  }

  async #stateOf(
    report: BindReport,
    make: SocketMake,
    questions: Pick<StateQuestions, "ask" | "answerIn">,
  ): Promise<SocketState | Unanswered | "gone"> {
    const known = questions.answerIn(report, make);
    const run = () => this.#run(report, () => ({ plan: statePlan(make, this.#sys), fd: report.socket }));
    const found = known === undefined ? await run() : { value: known };
    questions.ask(make);
    return typeof found === "string" ? found : found.value;
  }

  async #answerInet(report: BindReport, own: OwnSocket, address: Address | number): Promise<Answer> {
    if (typeof address === "number") return { verdict: address };
    if (address.family === "unix") return { verdict: EAFNOSUPPORT };
    if (this.#options.lease.ended) return this.#refuse(own, address, "its lease has ended");
    if (own.bound !== undefined) return { verdict: EINVAL };
    const found = this.#find(report, { ...own, address }, address.port === 0);
    if (found !== undefined && own.isServed) return this.#deliver(report, own, found, address);
    // Port 0 takes no address from anyone. The broker binds the server's own socket itself, so that the server cannot
    // change the address in between.
    if (address.port === 0) return this.#bindHere(report);
    const { otherBinds } = this.#options.berth.spec.server;
    const outcome = decideOtherBind(otherBinds, address, kernelPorts);
    if (outcome === "kernel") return CONTINUE;
    if (outcome === "here") return this.#bindHere(report);
    const now = boundBy(report.socket, own, address, this.#sys);
    if (now !== undefined && (await this.#further.isTaken(now, report.thread))) return { verdict: EADDRINUSE };
    const held = this.#options.berth.sockets.map(({ socket }) => ({
      ...socket.listen,
      address: socket.address,
      dualStack: isDualStack(socket),
    }));
    const why = explainRefusal(askedBy(own, address), held, otherBinds);
    return this.#refuse(own, address, why, outcome === "busy" ? EADDRINUSE : EACCES);
  }

  /** A UNIX address that the berth does not have is bound by the server itself; the file system decides. */
  #answerUnix(report: BindReport, own: OwnSocket, address: Address | number): Answer | Promise<Answer> {
    if (typeof address === "number" || this.#options.lease.ended || own.bound !== undefined) return CONTINUE;
    const found = this.#find(report, { ...own, address }, false);
    return found === undefined ? CONTINUE : this.#deliver(report, own, found, address);
  }

  #isElsewhere(report: BindReport): boolean {
    return !this.#options.berth.spec.server.anyNamespace && isInOtherNetwork(report, this.#options.network);
  }

  /** Whether the server's own socket takes no address of the namespace that the berth's are in. */
  #isApart({ socket }: BindReport): boolean {
    const [held] = this.#options.berth.sockets;
    return held !== undefined && areApart(socket, held.socket.fd, this.#sys);
  }

  /** What is bound in another network namespace is no matter of the berth's. Only what it may have meant is logged. */
  #passOn(report: BindReport, { kind, domain }: SocketMake): Answer {
    const address = addressOf(report.sockaddr, domain);
    if (typeof address === "number" || this.offers.fitting({ kind, address, v6only: false }, false).length === 0)
      return CONTINUE;
    const asked = formatListenAddress({ kind, address, dualStack: false });
    this.note("warning", `elsewhere ${asked}`, describeElsewhere(report.pid, asked));
    return CONTINUE;
  }

  #find(report: BindReport, request: BindRequest, ephemeral: boolean): Offer | undefined {
    return this.#isElsewhere(report) ? undefined : this.offers.find(request, ephemeral);
  }

  async #deliver(report: BindReport, own: OwnSocket, { name, socket }: Offer, asked: Address): Promise<Answer> {
    const lost = this.#further.renewPath({ name, socket });
    if (lost !== undefined) return { verdict: lost };
    // Where a server gets its sockets at its start as well, nobody knows which copies it uses.
    const isAlone = !this.#options.berth.spec.server.deliver.includes("listen-fds");
    const now = boundBy(report.socket, own, asked, this.#sys);
    const further = isAlone ? await this.#further.prepare({ name, socket, report, asked, now }) : undefined;
    if (further !== undefined && further !== "again") return this.#answerOf(further);
    if (!this.#options.awaits(report)) return CONTINUE;
    const fd = this.#sys.dup(socket.fd);
    if (fd < 0) return { verdict: EMFILE };
    const held = FdHandle.adoptForeign(fd, this.#sys);
    const { lease } = this.#options;
    // A try after the lease's end sets nothing. One that has begun then ends before the socket is set right.
    // A thread that serves on the socket already would wait for ever without its O_NONBLOCK.
    const set = further === "again" ? { ...own, flags: -1 } : own;
    const carrying = this.#run(report, () => ({ plan: socket.carryOver(lease.ended ? nothing : set), fd }));
    socket.carrying.add(carrying);
    const done = await carrying.finally(() => socket.carrying.delete(carrying));
    if (typeof done === "string") {
      held.close();
      return this.#unanswered(done);
    }
    if (lease.ended) {
      held.close();
      return this.#refuse(own, asked, "its lease has ended");
    }
    const given = { name, socket, asked, now };
    this.given(given, report);
    this.#options.onGiven(given);
    return { verdict: 0, held };
  }

  /** Whether the server has not had the socket since it was as new. */
  isFirst(socket: HeldSocket): boolean {
    return this.#further.isFirst(socket);
  }

  /** As in {@link FurtherBinds}. */
  get unsearchedMs(): number {
    return this.#further.unsearchedMs;
  }

  /** The server gets the socket. */
  given({ name, socket, asked, now }: Given, { pid, fd }: Binder): void {
    this.#further.given(socket, now);
    this.offers.given(socket, pid, fd);
    const { berth } = this.#options;
    berth.counts.binds.held++;
    const address = formatListenAddress(socket.listen);
    this.#options.log("info", `berth ${berth.name}: pid ${pid} bound ${formatAddress(asked)} and got socket ${name}`, {
      ...{ event: "bound", berth: berth.name, socket: name, pid, address },
    });
  }

  async #bindHere(report: BindReport): Promise<Answer> {
    return this.#answerOf(await this.#bindAt(report, report.sockaddr));
  }

  /** Binds the server's own socket; 0 or an errno. */
  async #bindAt(report: BindReport, sockaddr: Uint8Array): Promise<number | Unanswered | "gone"> {
    const bound = await this.#run(report, () => ({ plan: bindPlan(sockaddr), fd: report.socket }));
    return typeof bound === "string" ? bound : Math.max(0, -bound.value);
  }

  #answerOf(result: number | Unanswered | "gone"): Answer {
    return typeof result === "number" ? { verdict: result } : this.#unanswered(result);
  }

  /**
   * Carries out a plan in a guard process of the server's user. Its descriptor stays open as long as the report is
   * awaited.
   */
  async #run<T>(report: BindReport, make: () => { readonly plan: SocketPlan<T>; readonly fd: Borrowed }) {
    const { guard, awaits } = this.#options;
    for (let tries = 0; ; tries++) {
      if (!awaits(report)) return "gone";
      const { plan, fd } = make();
      const outcome = await runGuarded(plan, fd, guard, userOf(report.pid));
      if (!awaits(report)) return "gone";
      if (outcome !== "unavailable" || tries === MAX_TRIES) return outcome;
      await pause(RETRY_MS);
    }
  }

  /** Nobody can say what the socket is, or set what it needs. */
  #unanswered(why: Unanswered | "gone"): Answer {
    return why === "gone" ? CONTINUE : { verdict: this.noteUnanswered(why) };
  }

  /** Returns the errno for the server. */
  noteUnanswered(why: Unanswered): number {
    const { message, verdict } = unanswered[why];
    this.note("warning", why, `a bind of its server failed: ${message}`);
    return verdict;
  }

  #refuse(own: OwnSocket, address: Address, why: string, verdict: number = EACCES): Answer {
    const asked = nameAsked(askedBy(own, address));
    this.note("warning", asked, `its server may not bind ${asked}: ${why}`);
    return { verdict };
  }

  /** Whether a broker that was killed during this call had already handed over the socket. */
  #isDone(socket: number, { bound }: SocketState, asked: Address | number): boolean {
    const { ino } = fstatSync(socket);
    if (this.#options.berth.sockets.some((held) => fstatSync(held.socket.fd).ino === ino)) return true;
    if (typeof asked === "number" || asked.family === "unix") return false;
    if (bound === undefined || bound.family === "unix") return false;
    return bound.host === asked.host && [0, bound.port].includes(asked.port);
  }

  /** Logs each message once per server, up to a limit. */
  note(level: "error" | "warning", key: string, message: string): void {
    if (this.#logged.has(key) || this.#logged.size >= MAX_LOGGED) return;
    this.#logged.add(key);
    const { berth } = this.#options;
    this.#options.log(level, `berth ${berth.name}: ${message}`, { event: "bind-refused", berth: berth.name });
  }
}
