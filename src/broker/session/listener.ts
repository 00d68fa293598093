/**
 * Accepts connections on the control socket and limits them, so that no client can block the others. Each user has a
 * limit. When descriptors run short, the connection that was idle longest is closed. Leases belong to processes, so a
 * disconnected client only has to connect again (hazards 6 and 12).
 */
import { constants } from "node:os";
import { isScarcity, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { showOutOfBand } from "../../net/out-of-band.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import type { Service } from "../../varlink/service.ts";
import { Arrivals } from "../access/limits/arrivals.ts";
import { Budgets } from "../access/limits/budgets.ts";
import { Complaints } from "../access/limits/complaints.ts";
import { ARRIVALS, type CallLimits, firstReservedFd, LARGE_CALL, SMALL_CALL } from "../access/limits/limits.ts";
import type { Quota } from "../access/limits/quota.ts";
import type { Owners } from "../access/owners.ts";
import { Peer } from "../access/peer.ts";
import { isPrivileged } from "../access/policy.ts";
import type { Berths } from "../berths/berths.ts";
import type { Leases } from "../berths/leases.ts";
import type { BrokerCounts } from "../counts/broker-counts.ts";
import type { Guard } from "../guard/guard.ts";
import { Crowd, type Newcomer } from "./crowd.ts";
import { PeerGate } from "./peer-gate.ts";
import { refusal } from "./refusals.ts";
import { Session } from "./session.ts";

const { EAGAIN, ECONNABORTED, EMFILE, ENFILE } = constants.errno;

export interface ListenerOptions {
  readonly service: Service<Session>;
  readonly quota: Quota;
  readonly owners: Owners;
  readonly berths: Pick<Berths, "leases" | "visibility" | "processes">;
  readonly sys: Native;
  readonly log: Log;
  readonly brokerUid: number;
  /** Milliseconds in which a message must arrive once it has begun. */
  readonly deadline: number;
  /** Soft RLIMIT_NOFILE of this process. */
  readonly maxFds: number;
  readonly guard: Guard;
  /** Whether the kernel keeps descriptors of new connections out. */
  readonly keepsDescriptorsOut: boolean;
  readonly counts: BrokerCounts;
}

/** Milliseconds of accepting before connected clients get their turn. */
const BATCH_MS = 4;
/** Milliseconds to wait after a failed accept. */
const PAUSE_MS = 50;

export class Listener {
  readonly #socket: number;
  readonly #crowd: Crowd;
  readonly #budgets: Budgets = new Budgets();
  readonly #arrivals: Arrivals = new Arrivals();
  readonly #complaints: Complaints;
  readonly #options: ListenerOptions;
  readonly #poll: Poll;
  #pause: NodeJS.Timeout | undefined;
  #isPaused = false;
  #isClosed = false;
  /** Set after the warning was logged, until a connection is accepted again. */
  #starved = false;
  /** When it was last logged that somebody connects too often. */
  #saidAt = Number.NEGATIVE_INFINITY;
  /** How often the queue was checked: now, and at the last health check at which a connection waited. */
  #looked = 0;
  #lookedAtLast: number | undefined;

  /** Borrows a listening UNIX stream socket. */
  constructor(socket: number, options: ListenerOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#complaints = new Complaints(options.log);
    this.#crowd = new Crowd(options.quota, options.log);
    this.#poll = new options.sys.Poll(socket, () => this.#accept());
    this.#watch();
  }

  /** The connections that are open. */
  get sessions(): Set<Session> {
    return this.#crowd.sessions;
  }

  /**
   * The health check: false when a connection has waited since the last check and nobody has accepted it. It needs no
   * descriptor, so a client that uses up all descriptors cannot make it fail.
   */
  get healthy(): boolean {
    if (this.#isClosed) return false;
    const waits = !this.#isPaused && (this.#options.sys.pollNow(this.#socket, POLLIN) & POLLIN) !== 0;
    const healthy = !waits || this.#lookedAtLast !== this.#looked;
    this.#lookedAtLast = waits ? this.#looked : undefined;
    return healthy;
  }

  /** Accepts no connection and reads only `exempt` until {@link resume}. New clients wait in the kernel's queue. */
  pause(exempt: Session): void {
    this.#isPaused = true;
    clearTimeout(this.#pause);
    this.#poll.start(0);
    for (const session of this.sessions) if (session !== exempt) session.pause();
  }

  resume(): void {
    if (this.#isClosed) return;
    this.#isPaused = false;
    this.#watch();
    for (const session of this.sessions) session.resume();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Stops accepting, and closes all connections except `exempt`. Idempotent. */
  close(exempt?: Session): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#pause);
    this.#poll.close();
    for (const session of this.sessions) if (session !== exempt) session.close();
    this.#complaints.close();
  }

  #watch(): void {
    const result = this.#poll.start(READABLE);
    if (result < 0) throw new SysError("poll", -result, "control socket");
  }

  #accept(): void {
    this.#looked++;
    const start = performance.now();
    for (let now = start; now - start < BATCH_MS; now = performance.now()) {
      const fd = this.#options.sys.accept(this.#socket);
      if (fd >= 0) this.#admit(FdHandle.adopt(fd, this.#options.sys), now);
      else if (fd === -EAGAIN) return;
      else if (fd !== -ECONNABORTED) return this.#refused(-fd);
      // With nobody in the queue accept(2) still makes a socket, and destroys it: that costs several times a poll(2).
      if ((this.#options.sys.pollNow(this.#socket, POLLIN) & POLLIN) === 0) return;
    }
  }

  /** accept(2) failed, mostly because descriptors ran out. Make room, and try again after a pause. */
  #refused(errno: number): void {
    const fault = new SysError("accept", errno, "control socket");
    if (!this.#starved) {
      this.#starved = true;
      this.#options.log(
        "warning",
        [EMFILE, ENFILE].includes(errno)
          ? `${fault.message}: connections wait until descriptors are free; raise RLIMIT_NOFILE`
          : `${fault.message}: connections wait until it works again`,
        {
          event: "starved",
          connections: this.sessions.size,
        },
      );
    }
    if (this.#crowd.evictIdle()) return;
    this.#poll.start(0);
    // While the poll is stopped, only this timer may keep the process alive.
    this.#pause = setTimeout(() => this.#watch(), PAUSE_MS);
  }

  #admit(handle: FdHandle, now: number): void {
    const { sys, quota, brokerUid } = this.#options;
    const { log } = this.#complaints;
    let peer: Peer;
    try {
      peer = Peer.of(handle.fd, sys);
    } catch (error) {
      this.#drop(handle);
      log("warning", `closed a connection: the kernel does not say who the peer is: ${error}`, { event: "refused" });
      return;
    }
    const privileged = isPrivileged(peer.uid, brokerUid);
    const account = privileged ? peer.uid : this.#options.owners.accountOf(peer.uid, now);
    if (!privileged && !this.#arrivals.admit(account, now)) {
      this.#options.counts.refusedConnections.arrivals++;
      this.#drop(handle);
      this.#sayTooOften(peer, now);
      return;
    }
    const scarce = handle.fd >= firstReservedFd(this.#options.maxFds, privileged);
    if (!scarce) this.#starved = false;
    // Close the user's own idle connections first. Only a user below its limit may take one from another user.
    const roomForUser =
      quota.charge("connections", account) || (this.#crowd.evictIdle(account) && quota.charge("connections", account));
    const roomForAll = !scarce || (roomForUser && this.#crowd.evictFor({ account, privileged }));
    const connection = scarce && roomForAll ? moveDown(handle) : handle;
    const session = this.#open(connection, connection === handle ? peer : Peer.of(connection.fd, sys), {
      account,
      privileged,
    });
    session.onceClosed(() => {
      this.sessions.delete(session);
      this.#options.berths.processes.forget(session.peer);
      if (roomForUser) quota.refund("connections", account);
    });
    if (!roomForUser || !roomForAll) this.#turnAway(session, roomForUser ? "descriptors" : "connections");
  }

  /** Closes a connection that nobody has read. Where descriptors may wait in it, a guard process does. */
  #drop(handle: FdHandle): void {
    const { keepsDescriptorsOut, guard } = this.#options;
    if (keepsDescriptorsOut) handle.close();
    else guard.close("stranger", handle.steal());
  }

  #open(handle: FdHandle, peer: Peer, { account, privileged }: Newcomer): Session {
    const { service, sys, deadline, berths, guard, keepsDescriptorsOut, counts } = this.#options;
    const { log } = this.#complaints;
    showOutOfBand(handle.fd, sys);
    const budget = this.#budgets.of(account, privileged);
    const callLimits = this.#callLimits;
    const gate = new PeerGate({ guard, uid: peer.uid, keptOut: keepsDescriptorsOut, sys });
    // No object spread here: it costs microseconds per connection.
    const options = { service, account, privileged, sys, log, deadline, budget, callLimits, gate, counts };
    const session = new Session(handle, peer, options);
    counts.connections++;
    this.sessions.add(session);
    if (privileged || holdsLease(session, berths.leases)) session.letDescriptorsIn();
    return session;
  }

  readonly #callLimits = ({ peer, privileged }: Session): CallLimits =>
    privileged || this.#options.berths.visibility.mayTakeAny(peer) ? LARGE_CALL : SMALL_CALL;

  #turnAway(session: Session, limit: "descriptors" | "connections"): void {
    const { quota, counts } = this.#options;
    counts.refusedConnections[limit]++;
    const { log } = this.#complaints;
    const { pid, uid } = session.peer;
    const who = session.account === uid ? `uid ${uid}` : `uid ${uid}, which counts as uid ${session.account},`;
    const message =
      limit === "descriptors"
        ? "the broker has no descriptor left for another connection; try again"
        : `${who} has ${quota.limits.connections} connections open already`;
    log("notice", `connection of pid ${pid} (uid ${uid}) refused: ${message}`, { event: "refused", limit, uid });
    session.endWith(refusal({ kind: "limit", limit, message }));
  }

  /** Logs at most one line a second, for all users together. */
  #sayTooOften({ pid, uid }: Peer, now: number): void {
    if (now - this.#saidAt < 1000) return;
    this.#saidAt = now;
    const message = `uid ${uid} connects more than ${ARRIVALS.perSecond} times a second`;
    this.#options.log("notice", `connection of pid ${pid} (uid ${uid}) closed: ${message}`, {
      event: "refused",
      limit: "arrivals",
      uid,
    });
  }
}

/**
 * The connection under the lowest number that is free. So high numbers mean that few descriptors are left, also after a
 * connection was closed for this one.
 */
function moveDown(handle: FdHandle): FdHandle {
  using high = handle;
  return high.dup();
}

/** Whether the peer is a tenant. Without a descriptor to find out with, it is none: it can call Acquire again. */
function holdsLease(session: Session, leases: Pick<Leases, "ofPid">): boolean {
  try {
    return leases.ofPid(session.peer.pid).some((lease) => session.holds(lease));
  } catch (error) {
    if (!isScarcity(error)) throw error;
    return false;
  }
}
