/**
 * The broker: reads the configuration, opens what it asks for, and answers on the control socket until it is closed.
 * This file is its table of contents; what each part does stands in the part.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { BerthSpec, Problem } from "../config/spec.ts";
import { BerthError, check } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import { type Native, native, packageRoot } from "../native.ts";
import type { Pool } from "../rootfs/range.ts";
import type { PassedFd } from "../systemd/activation.ts";
import type { FdStore } from "../systemd/fd-store.ts";
import { Service, type ServiceInfo } from "../varlink/service.ts";
import type { Berth, BerthEvent, BerthView } from "./berth.ts";
import { BerthRoots } from "./berth-roots.ts";
import { Berths } from "./berths.ts";
import { ControlSocket } from "./control-socket.ts";
import { Interceptions } from "./interceptions.ts";
import { Keeping } from "./keeping.ts";
import { Ledger } from "./ledger.ts";
import { Listener } from "./listener.ts";
import { Locks } from "./locks.ts";
import type { Log } from "./log.ts";
import { systemLookup } from "./lookup.ts";
import { brokerMethods } from "./methods.ts";
import { NotifySocket } from "./notify-socket.ts";
import { describeOffer, type OfferedSocket, socketInode } from "./offered-socket.ts";
import { OnDemand } from "./on-demand.ts";
import { DEFAULT_QUOTA, Quota, type QuotaLimits } from "./quota.ts";
import { reclaim } from "./reclaim.ts";
import { createRunner } from "./runner.ts";
import type { Session } from "./session.ts";
import { DEFAULT_START_LIMITS, type StartLimits } from "./starter.ts";
import { closePassed, joinPassed, NOTHING_PASSED, type Passed, sortPassed, takeBack } from "./take-back.ts";
import { TenantNotices } from "./tenant-notices.ts";
import { Watchers } from "./watchers.ts";

export interface BrokerOptions {
  /** Configuration folders in rising precedence. */
  readonly config?: readonly string[];
  /** Berths given by the program itself instead of by `config`. */
  readonly berths?: readonly BerthSpec[];
  /** Path of the control socket, or the socket itself, listening, as from socket activation; the broker then owns it. */
  readonly socket: string | FdHandle;
  /**
   * Descriptors passed to this process (sd_listen_fds(3)), the broker's from now on: sockets of berths that .socket
   * units own, the control socket if it is among them, and what an earlier broker had put into `store`.
   */
  readonly passed?: readonly PassedFd[];
  /** The service manager's store of descriptors, where there is one: all that is held is kept there too. */
  readonly store?: FdStore;
  /** Something that a status line would tell has changed. */
  readonly onChange?: () => void;
  /** Folder for what must outlive the broker; locked, so that two brokers never share one. */
  readonly state?: string;
  /** Ids that ranges of berths with a root are taken from. Default: those that systemd sets apart for containers. */
  readonly ranges?: Pool;
  /** Permission bits of the control socket's path. Who may do what is decided by policy, so 0666 is the default. */
  readonly socketMode?: number;
  readonly quota?: Partial<QuotaLimits>;
  /** Milliseconds a message may take to arrive, and a reply to be read. Default 10,000. */
  readonly deadline?: number;
  /** How servers are started on demand. */
  readonly starts?: Partial<StartLimits>;
  /** Descriptor that the output of servers goes to that the broker itself starts. Default: standard error. */
  readonly serverOutput?: number;
  /** Default: nothing is logged. */
  readonly log?: Log;
  readonly sys?: Native;
}

const DEFAULT_DEADLINE = 10_000;

/** A running broker. Async-disposable: the end of it closes every socket it holds. */
export class Broker implements AsyncDisposable {
  readonly #options: BrokerOptions;
  readonly #sys: Native;
  readonly #log: Log;
  readonly #quota: Quota;
  readonly #roots: BerthRoots;
  readonly #berths: Berths;
  readonly #interceptions: Interceptions;
  #notify: NotifySocket | undefined;
  #onDemand: OnDemand | undefined;
  readonly #watchers: Watchers = new Watchers();
  readonly #locks: Locks;
  readonly #keeping: Keeping | undefined;
  #ledger: Ledger | undefined;
  /** What was passed and has not found its place yet. */
  #passed: Passed;
  readonly #control: ControlSocket;
  #listener: Listener | undefined;

  private constructor(options: BrokerOptions) {
    this.#options = options;
    this.#sys = options.sys ?? native;
    this.#log = options.log ?? (() => undefined);
    const sys = this.#sys;
    if (options.store !== undefined)
      this.#keeping = new Keeping({
        store: options.store,
        sys,
        log: this.#log,
        berths: () => this.#berths.list(),
        control: () => this.#control.own,
      });
    // What was passed is ours from now on, and closed if the start fails.
    this.#passed = sortPassed(options.passed ?? [], this.#keeping, sys);
    this.#control = new ControlSocket(options.socket, options.socketMode ?? 0o666, sys);
    this.#locks = new Locks(sys);
    this.#quota = new Quota({ ...DEFAULT_QUOTA, ...options.quota });
    this.#roots = new BerthRoots(options, this.#log, this.#sys);
    this.#berths = new Berths({
      roots: this.#roots,
      sys,
      log: this.#log,
      quota: this.#quota,
      onEvent: (event, berth) => this.#onEvent(event, berth),
      settle: () => this.#keeping?.settle(),
    });
    this.#interceptions = new Interceptions({
      berths: this.#berths,
      quota: this.#quota,
      sys,
      log: this.#log,
      keeping: this.#keeping,
    });
  }

  /**
   * Starts a broker. Throws CONFIG_INVALID with every problem of the configuration in its message, BROKER_RUNNING when
   * another serves on the socket or the state folder, SYSTEM_ERROR when the machine refuses.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options);
    try {
      broker.#control.take(broker.#passed.sockets);
      broker.#takeLocks();
      broker.#openLedger();
      broker.#settleIn();
      broker.#openNotify();
      broker.#listen();
      broker.#startOnDemand();
      return broker;
    } catch (error) {
      await broker.close();
      throw error;
    }
  }

  /** The berths as they are now. */
  get berths(): BerthView[] {
    return this.#berths.list().map((berth) => berth.view());
  }

  /** Where it answers, for people. */
  get where(): string {
    return this.#control.where;
  }

  /** Whether it does its work: connections do not wait unheeded. What waits for want of descriptors is heeded. */
  get healthy(): boolean {
    return this.#listener?.healthy ?? false;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#listener?.sessions.size ?? 0;
  }

  /**
   * Reads the configuration again. Sockets that stay the same stay open, with whatever queues on them. Throws
   * CONFIG_INVALID with every problem, and then nothing has changed.
   */
  reload(): void {
    this.#apply();
  }

  /** Closes the control socket, every connection and every held socket. Tenants keep what they have. Idempotent. */
  async close(): Promise<void> {
    this.#listener?.close();
    this.#listener = undefined;
    // What is stored stays so: whether it is for the next broker, the service manager knows.
    this.#keeping?.close();
    closePassed(this.#passed);
    this.#control.close();
    this.#notify?.close();
    this.#notify = undefined;
    this.#onDemand?.close();
    this.#onDemand = undefined;
    const deserted = this.#interceptions.close();
    if (deserted > 0) {
      this.#log(
        "warning",
        `${deserted} servers with bind delivery run on; what they have stays, a new bind fails with EADDRNOTAVAIL`,
        {
          event: "deserted",
          servers: deserted,
        },
      );
    }
    const ledger = this.#ledger;
    this.#berths.close((berth) => ledger?.has(berth) === true);
    ledger?.close();
    this.#roots.close();
    this.#locks.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Reads the configuration and makes the berths those of it. Of `offered`, which is taken, returns what it declined. */
  #apply(offered: readonly OfferedSocket[] = []): OfferedSocket[] {
    const { config = [], berths } = this.#options;
    const loaded =
      berths === undefined
        ? loadConfig({ directories: config, lookup: systemLookup(this.#sys) })
        : { specs: berths, problems: [] };
    if (loaded.problems.length > 0) throw invalid(loaded.problems);
    const declined: OfferedSocket[] = [];
    this.#onDemand?.pause();
    const problems = this.#berths.apply(loaded.specs, offered, (offer) => declined.push(offer));
    this.#onDemand?.resume(this.#berths.list());
    // In any case: a socket that had to be opened anew is another one.
    this.#keeping?.keepAll();
    this.#ledger?.keepAll(this.#berths.list());
    if (problems.length > 0) throw invalid(problems);
    return declined;
  }

  /** The first configuration: everything that was passed finds its place in it, or is closed. */
  #settleIn(): void {
    const passed = this.#passed;
    const ofBerths = passed.sockets.filter(({ stored }) => stored === undefined || stored.berth !== undefined);
    const declined = this.#apply(ofBerths);
    this.#control.takeSole(ofBerths, declined);
    takeBack(passed, {
      berths: this.#berths,
      interceptions: this.#interceptions,
      keeping: this.#keeping,
      sys: this.#sys,
      log: this.#log,
    });
    const controls = passed.sockets.filter((offer) => !ofBerths.includes(offer));
    this.#passed = NOTHING_PASSED;
    this.#control.open(controls);
    for (const offer of [...declined, ...controls])
      if (offer.handle.open && offer.handle.fd !== this.#control.fd) this.#decline(offer);
    this.#keeping?.keepAll();
    this.#ledger?.begin(this.#berths.list());
  }

  /** Closes what was passed and nobody wants. */
  #decline(offer: OfferedSocket): void {
    const { name, handle, backup } = offer;
    const inode = socketInode(handle.fd);
    backup?.drop();
    handle.close();
    // What a unit passes may have come from the store as well.
    const held = this.#berths.list().flatMap(({ sockets }) => sockets.map(({ socket }) => socketInode(socket.fd)));
    if (held.includes(inode)) return;
    this.#log("notice", `nobody wants the passed descriptor ${name}, which is ${describeOffer(offer)}: closed`, {
      event: "declined",
      name,
    });
  }

  #takeLocks(): void {
    const { state } = this.#options;
    if (state !== undefined) this.#locks.take(join(state, "lock"), 0o700);
    const path = this.#control.unbound;
    if (path !== undefined) this.#locks.take(`${path}.lock`, 0o755);
  }

  /** Beside the control socket. A broker that cannot have it serves without, and says so. */
  #openLedger(): void {
    const { path } = this.#control;
    if (path === "" || path.startsWith("@")) return;
    const context = { sys: this.#sys, log: this.#log };
    try {
      this.#ledger = Ledger.open(`${path}.leases`, context);
      const reclaimed = this.#ledger.read().flatMap((entry) => reclaim(entry, context));
      // Not in a store, wherever it may have been before.
      joinPassed(this.#passed, sortPassed(reclaimed, undefined, this.#sys));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#ledger?.close();
      this.#ledger = undefined;
      this.#log(
        "warning",
        `leases are not written down, so the next broker will not find their tenants: ${error.message}`,
        {
          event: "ledger",
        },
      );
    }
  }

  #listen(): void {
    const { deadline = DEFAULT_DEADLINE } = this.#options;
    const { fd } = this.#control;
    if (fd === undefined) return;
    const service = new Service<Session>(serviceInfo(), [
      brokerMethods({
        berths: this.#berths,
        interceptions: this.#interceptions,
        sys: this.#sys,
        notify: this.#notify?.address,
        watch: (session) => this.#watchers.add(session),
      }),
    ]);
    this.#listener = new Listener(fd, {
      service,
      quota: this.#quota,
      sys: this.#sys,
      log: this.#log,
      brokerUid: process.geteuid?.() ?? 0,
      deadline,
      maxFds: maxOpenFiles(),
      onClosed: (session) => this.#watchers.delete(session),
    });
  }

  #onEvent(event: BerthEvent, berth: Berth): void {
    // Before anybody is told of it, the caller included.
    if (event !== "removed") this.#keeping?.keep(berth);
    this.#ledger?.keep(berth);
    this.#tell(event, berth);
    this.#options.onChange?.();
  }

  /** Beside the control socket. A broker that cannot have it serves without, and says so. */
  #openNotify(): void {
    const berths = this.#berths;
    const notices = new TenantNotices({ berths, log: this.#log, tell: (event, berth) => this.#tell(event, berth) });
    try {
      this.#notify = NotifySocket.open(`${this.#control.path}.notify`, {
        sys: this.#sys,
        log: this.#log,
        tenantAmong: (pids) => berths.leases.among(pids),
        onMessage: (tenancy, message, fds) => notices.heed(tenancy, message, fds),
      });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#log("warning", `servers cannot say that they are ready (sd_notify(3)): ${error.message}`, {
        event: "notify",
      });
    }
  }

  #startOnDemand(): void {
    const { starts, serverOutput = 2 } = this.#options;
    this.#onDemand = new OnDemand({
      sys: this.#sys,
      log: this.#log,
      runner: createRunner({ socket: this.#control.path, output: serverOutput }),
      limits: { ...DEFAULT_START_LIMITS, ...starts },
      tell: (event, berth) => this.#tell(event, berth),
    });
    this.#onDemand.resume(this.#berths.list());
  }

  #tell(event: BerthEvent, berth: Berth): void {
    this.#onDemand?.observe(berth);
    this.#watchers.tell(event, berth, (session) => this.#berths.visible(berth, session));
  }
}

function invalid(problems: readonly Problem[]): BerthError {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return new BerthError("CONFIG_INVALID", `the configuration has ${count}:\n${problems.map(formatProblem).join("\n")}`);
}

function serviceInfo(): ServiceInfo {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return { vendor: "berthd", product: "berthd", version, url: "https://berthd.io/" };
}

/** Soft RLIMIT_NOFILE; Node has no getrlimit(2). */
function maxOpenFiles(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return check("getrlimit", limit === undefined ? Number.MAX_SAFE_INTEGER : Number(limit));
}
