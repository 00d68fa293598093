/**
 * The broker: reads the configuration, opens what it asks for, and answers on the control socket until it is closed.
 * This file is its table of contents; what each part does stands in the part.
 */
import { join } from "node:path";
import type { BerthSpec } from "../config/spec.ts";
import { BerthError } from "../errors.ts";
import { closeAll } from "../fd.ts";
import type { Log } from "../log.ts";
import { type Native, native } from "../native.ts";
import { Service } from "../varlink/service.ts";
import { maxOpenFiles } from "./access/open-files.ts";
import { DEFAULT_QUOTA, Quota } from "./access/quota.ts";
import type { Berth, BerthEvent, BerthView } from "./berths/berth.ts";
import { BerthRoots } from "./berths/berth-roots.ts";
import { Berths } from "./berths/berths.ts";
import { Interceptions } from "./bind/interceptions.ts";
import type { BrokerOptions } from "./broker-options.ts";
import { checkProblems, readConfiguration } from "./configuration.ts";
import { OnDemand } from "./demand/on-demand.ts";
import { createRunner } from "./demand/runner.ts";
import { DEFAULT_START_LIMITS } from "./demand/starter.ts";
import { NotifySocket } from "./notify/notify-socket.ts";
import { TenantNotices } from "./notify/tenant-notices.ts";
import { closeUnclaimed } from "./restart/close-unclaimed.ts";
import { Ledger } from "./restart/ledger.ts";
import { Locks } from "./restart/locks.ts";
import { reclaimAll } from "./restart/reclaim.ts";
import {
  closeInherited,
  type InheritedFds,
  joinInherited,
  noInheritedFds,
  type RestoreContext,
  restore,
  restoreBinds,
  sortInherited,
} from "./restart/restore.ts";
import { StoreMirror } from "./restart/store-mirror.ts";
import { LENT, type Predecessor } from "./restart/takeover-client.ts";
import { CONFIRM_TIMEOUT_MS, TakeoverServer } from "./restart/takeover-server.ts";
import { TakeoverSnapshot } from "./restart/takeover-snapshot.ts";
import { Listener } from "./session/listener.ts";
import { brokerMethods } from "./session/methods.ts";
import { serviceInfo } from "./session/service-info.ts";
import type { Session } from "./session/session.ts";
import { Watchers } from "./session/watchers.ts";
import { ControlSocket } from "./sockets/control-socket.ts";
import type { NamedSocket } from "./sockets/named-socket.ts";
import type { PassedSocket } from "./sockets/passed-socket.ts";

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
  readonly #maxFds: number = maxOpenFiles();
  readonly #mirror: StoreMirror | undefined;
  #ledger: Ledger | undefined;
  /** What was passed and has not found its place yet. */
  #passed: InheritedFds = noInheritedFds();
  readonly #control: ControlSocket;
  #listener: Listener | undefined;
  readonly #snapshot: TakeoverSnapshot;
  readonly #takeover: TakeoverServer;

  private constructor(options: BrokerOptions) {
    this.#options = options;
    this.#sys = options.sys ?? native;
    this.#log = options.log ?? (() => undefined);
    const sys = this.#sys;
    if (options.store !== undefined)
      this.#mirror = new StoreMirror({
        store: options.store,
        sys,
        log: this.#log,
        berths: () => this.#berths.list(),
        own: () => this.#control.named,
      });
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
      settle: () => this.#mirror?.settle(),
    });
    this.#interceptions = new Interceptions({
      berths: this.#berths,
      quota: this.#quota,
      sys,
      log: this.#log,
      store: this.#mirror,
    });
    this.#snapshot = new TakeoverSnapshot({
      berths: this.#berths,
      interceptions: this.#interceptions,
      locks: this.#locks,
      own: () => this.#own,
      listener: () => this.#listener,
      notify: () => this.#notify,
      onDemand: () => this.#onDemand,
      sys,
      log: this.#log,
    });
    this.#takeover = new TakeoverServer({
      snapshot: this.#snapshot,
      obstacle: () => this.#irreplaceable,
      end: (heir) => this.#end(true, heir),
      patience: CONFIRM_TIMEOUT_MS,
      sys,
      log: this.#log,
    });
    // What was passed is ours from now on, and closed if the start fails.
    this.#passed = sortInherited(options.passed ?? [], this.#mirror, sys);
  }

  /**
   * Starts a broker. Throws CONFIG_INVALID with every problem of the configuration in its message, BROKER_RUNNING when
   * another serves on the socket or the state folder, SYSTEM_ERROR when the machine refuses. Whatever it throws, a
   * predecessor goes on as if nobody had come.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options);
    const { predecessor } = options;
    try {
      const specs = readConfiguration(options, broker.#roots, broker.#sys);
      if (predecessor !== undefined) await broker.#inherit(predecessor);
      broker.#control.take(broker.#passed.sockets);
      broker.#takeLocks();
      if (predecessor === undefined) broker.#openLedger();
      broker.#settleIn(specs);
      if (predecessor !== undefined) await broker.#succeed(predecessor);
      broker.#begin();
      broker.#listen();
      broker.#startOnDemand();
      return broker;
    } catch (error) {
      await broker.close();
      throw error;
    } finally {
      predecessor?.close();
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
   * CONFIG_INVALID with every problem, and BROKER_RUNNING while another broker takes over; then nothing has changed.
   */
  reload(): void {
    if (this.#takeover.isUnderWay)
      throw new BerthError("BROKER_RUNNING", "another broker is taking over, and reads the configuration itself");
    this.#apply(readConfiguration(this.#options, this.#roots, this.#sys));
  }

  /** Closes the control socket, every connection and every held socket. Tenants keep what they have. Idempotent. */
  async close(): Promise<void> {
    // Whoever has been given everything goes on alone: it finds us gone instead of its confirmation answered.
    const isGiven = this.#takeover.hasGiven;
    this.#takeover.close();
    if (!isGiven) this.#snapshot.abandon();
    this.#end(isGiven);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Closes everything but one connection, and leaves alone what is stored or handed over. */
  #end(isGiven: boolean, heir?: Session): void {
    this.#listener?.close(heir);
    this.#listener = undefined;
    // What is stored stays so: whether it is for the next broker, the service manager knows.
    this.#mirror?.close();
    this.#snapshot.close();
    closeInherited(this.#passed);
    this.#control.close();
    this.#notify?.close();
    this.#notify = undefined;
    this.#onDemand?.close();
    this.#onDemand = undefined;
    this.#interceptions.close(isGiven);
    const ledger = this.#ledger;
    this.#berths.close((berth) => ledger?.has(berth) === true);
    ledger?.close();
    this.#roots.close();
    this.#locks.close();
    if (heir !== undefined) this.#options.onReplaced?.();
  }

  /** Makes the berths those of the configuration. Of `offered`, which is taken, returns what it declined. */
  #apply(specs: readonly BerthSpec[], offered: readonly PassedSocket[] = []): PassedSocket[] {
    const declined: PassedSocket[] = [];
    this.#onDemand?.pause();
    const problems = this.#berths.apply(specs, offered, (offer) => declined.push(offer));
    this.#onDemand?.resume(this.#berths.list());
    // In any case: a socket that had to be opened anew is another one.
    this.#mirror?.keepAll();
    this.#ledger?.keepAll(this.#berths.list());
    checkProblems(problems);
    return declined;
  }

  /** Takes all that the predecessor has, which waits from now on. */
  async #inherit(predecessor: Predecessor): Promise<void> {
    if ((this.#options.passed ?? []).length > 0)
      throw new BerthError("USAGE", "what was passed to this broker is its own: there is nothing to take over");
    this.#passed = sortInherited(await predecessor.takeOver(), undefined, this.#sys, LENT);
  }

  /** The first configuration: everything that was passed finds its place in it, or is unwanted. */
  #settleIn(specs: readonly BerthSpec[]): void {
    const { sockets } = this.#passed;
    const ofBerths = sockets.filter(({ stored }) => stored === undefined || stored.berth !== undefined);
    const declined = this.#apply(specs, ofBerths);
    this.#control.takeSole(ofBerths, declined);
    restore(this.#passed, this.#restoreContext);
    const own = sockets.filter((offer) => !ofBerths.includes(offer));
    const { binds, keepers } = this.#passed;
    this.#passed = { ...noInheritedFds(), sockets: [...declined, ...own], binds, keepers };
    this.#control.open(own);
    this.#openNotify(own);
    const taken = [this.#control.fd, this.#notify?.socket.fd];
    this.#passed.sockets = this.#passed.sockets.filter(({ handle }) => handle.open && !taken.includes(handle.fd));
  }

  /** Everything has its place: the predecessor ends, and what it had is ours alone. */
  async #succeed(predecessor: Predecessor): Promise<void> {
    // Until then the ends of tenants are its to see, and what they say its to hear.
    this.#berths.leases.pause();
    this.#notify?.pause();
    await predecessor.confirm();
    const sockets = [...this.#own, ...this.#berths.list().flatMap((berth) => berth.sockets)];
    for (const { socket } of sockets) if (socket.storedCopy === LENT) socket.storedCopy = undefined;
    this.#berths.leases.resume();
    this.#notify?.resume();
    this.#openLedger();
    this.#log("notice", `took over from pid ${predecessor.pid}`, { event: "took-over", pid: predecessor.pid });
  }

  /** Nobody else has any of it now. */
  #begin(): void {
    for (const offer of this.#passed.sockets) closeUnclaimed(offer, this.#berths, this.#log);
    restoreBinds(this.#passed, this.#restoreContext);
    this.#passed = noInheritedFds();
    this.#berths.repairVacant();
    this.#mirror?.keepAll();
    this.#ledger?.begin(this.#berths.list());
  }

  get #restoreContext(): RestoreContext {
    return {
      berths: this.#berths,
      interceptions: this.#interceptions,
      mirror: this.#options.predecessor === undefined ? this.#mirror : undefined,
      sys: this.#sys,
      log: this.#log,
    };
  }

  /** The sockets that it has bound for itself. */
  get #own(): NamedSocket[] {
    const notify = this.#notify?.socket;
    return [...this.#control.named, ...(notify === undefined ? [] : [{ name: "notify", socket: notify }])];
  }

  /** Why no other broker can take over from this one. */
  get #irreplaceable(): string | undefined {
    if (this.#mirror !== undefined)
      return "it is a service whose manager keeps its descriptors; `systemctl restart berthd` loses nothing";
    return this.#control.own === undefined ? "its control socket is of whoever passed it; restart it there" : undefined;
  }

  #takeLocks(): void {
    const { state } = this.#options;
    const { locks } = this.#passed;
    if (state !== undefined) this.#locks.take(join(state, "lock"), 0o700, locks);
    const path = this.#control.unbound;
    if (path !== undefined) this.#locks.take(`${path}.lock`, 0o755, locks);
    closeAll(locks.splice(0));
  }

  /** Beside the control socket. A broker that cannot have it serves without, and says so. */
  #openLedger(): void {
    const { path } = this.#control;
    if (path === "" || path.startsWith("@")) return;
    const context = { sys: this.#sys, log: this.#log };
    try {
      this.#ledger = Ledger.open(`${path}.leases`, context);
      const entries = this.#ledger.read();
      // What a predecessor had is handed over.
      if (this.#options.predecessor !== undefined) return;
      // Not in a store, wherever it may have been before.
      joinInherited(this.#passed, sortInherited(reclaimAll(entries, context), undefined, this.#sys));
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
        settled: () => this.#takeover.over(),
        watch: (session) => this.#watchers.add(session),
      }),
      this.#takeover.implementation,
    ]);
    this.#listener = new Listener(fd, {
      service,
      quota: this.#quota,
      sys: this.#sys,
      log: this.#log,
      brokerUid: process.geteuid?.() ?? 0,
      deadline,
      maxFds: this.#maxFds,
      onClosed: (session) => {
        this.#watchers.delete(session);
        this.#takeover.closed(session);
      },
    });
  }

  #onEvent(event: BerthEvent, berth: Berth): void {
    // Before anybody is told of it, the caller included.
    if (event !== "removed") this.#mirror?.keep(berth);
    this.#ledger?.keep(berth);
    this.#tell(event, berth);
    this.#options.onChange?.();
  }

  /** Beside the control socket; `offered` may have a predecessor's. A broker that cannot have it serves without, and says so. */
  #openNotify(offered: readonly PassedSocket[]): void {
    const berths = this.#berths;
    const notices = new TenantNotices({ berths, log: this.#log, tell: (event, berth) => this.#tell(event, berth) });
    try {
      this.#notify = NotifySocket.open(`${this.#control.path}.notify`, {
        sys: this.#sys,
        log: this.#log,
        offered,
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
