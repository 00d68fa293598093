/**
 * Accepts connections on the control socket and limits them, so that no client can block the others. Each user has a
 * limit. When descriptors run short, the connection that was idle longest is closed. Leases belong to processes, so a
 * disconnected client only has to connect again (hazards 6 and 12).
 */
import { constants } from "node:os";
import { SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import type { Service } from "../../varlink/service.ts";
import { Peer } from "../access/peer.ts";
import { isPrivileged } from "../access/policy.ts";
import type { Quota } from "../access/quota.ts";
import { refusal } from "./refusals.ts";
import { Session } from "./session.ts";

const { EAGAIN, ECONNABORTED, EMFILE, ENFILE } = constants.errno;

export interface ListenerOptions {
  readonly service: Service<Session>;
  readonly quota: Quota;
  readonly sys: Native;
  readonly log: Log;
  readonly brokerUid: number;
  /** Milliseconds in which a message must arrive once it has begun. */
  readonly deadline: number;
  /** Soft RLIMIT_NOFILE of this process. */
  readonly maxFds: number;
}

/** Descriptors that clients cannot use up: the broker needs them for pidfds, plans, duplicates and a reload. */
const RESERVE = 16;
/** Connections accepted in a row before connected clients get their turn. */
const BATCH = 16;
/** Milliseconds to wait after a failed accept. */
const PAUSE_MS = 50;

export class Listener {
  readonly sessions: Set<Session> = new Set();
  readonly #socket: number;
  readonly #options: ListenerOptions;
  readonly #poll: Poll;
  #pause: NodeJS.Timeout | undefined;
  #isPaused = false;
  #isClosed = false;
  /** Set after the warning was logged, until a connection is accepted again. */
  #starved = false;
  /** How often the queue was checked: now, and at the last health check at which a connection waited. */
  #looked = 0;
  #lookedAtLast: number | undefined;

  /** Borrows a listening UNIX stream socket. */
  constructor(socket: number, options: ListenerOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#poll = new options.sys.Poll(socket, () => this.#accept());
    this.#watch();
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

  /** Stops accepting, and closes all connections except `exempt`. Idempotent. */
  close(exempt?: Session): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#pause);
    this.#poll.close();
    for (const session of this.sessions) if (session !== exempt) session.close();
  }

  #watch(): void {
    const result = this.#poll.start(READABLE);
    if (result < 0) throw new SysError("poll", -result, "control socket");
  }

  #accept(): void {
    this.#looked++;
    for (let taken = 0; taken < BATCH; taken++) {
      const fd = this.#options.sys.accept(this.#socket);
      if (fd >= 0) this.#admit(FdHandle.adopt(fd, this.#options.sys));
      else if (fd === -EAGAIN) return;
      else if (fd !== -ECONNABORTED) return this.#refused(-fd);
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
    if (this.#evict(({ idle }) => idle)) return;
    this.#poll.start(0);
    // While the poll is stopped, only this timer may keep the process alive.
    this.#pause = setTimeout(() => this.#watch(), PAUSE_MS);
  }

  #admit(handle: FdHandle): void {
    const { sys, quota, brokerUid, maxFds, service, log, deadline } = this.#options;
    let peer: Peer;
    try {
      peer = Peer.of(handle.fd, sys);
    } catch (error) {
      handle.close();
      log("warning", `closed a connection: the kernel does not say who the peer is: ${error}`, { event: "refused" });
      return;
    }
    const scarce = handle.fd >= maxFds - RESERVE;
    if (!scarce) this.#starved = false;
    // Close the user's own idle connections first. Only a user below its limit may take one from another user.
    const isOwn = (session: Session): boolean => session.idle && session.peer.uid === peer.uid;
    const roomForUser =
      quota.charge("connections", peer.uid) || (this.#evict(isOwn) && quota.charge("connections", peer.uid));
    const roomForAll = !scarce || (roomForUser && this.#evictFromGreediest(peer.uid));
    const session = new Session(handle, peer, {
      service,
      privileged: isPrivileged(peer.uid, brokerUid),
      sys,
      log,
      deadline,
    });
    this.sessions.add(session);
    session.onceClosed(() => {
      this.sessions.delete(session);
      if (roomForUser) quota.refund("connections", peer.uid);
    });
    if (roomForUser && roomForAll) return;
    const limit = roomForUser ? "descriptors" : "connections";
    const message = roomForUser
      ? "the broker has no descriptor left for another connection; try again"
      : `uid ${peer.uid} has ${quota.limits.connections} connections open already`;
    log("notice", `connection of pid ${peer.pid} (uid ${peer.uid}) refused: ${message}`, {
      event: "refused",
      limit,
      uid: peer.uid,
    });
    session.endWith(refusal({ kind: "limit", limit, message }));
  }

  /** Closes an idle connection, else a busy one of a user who has more connections than the newcomer. */
  #evictFromGreediest(newcomer: number): boolean {
    const { quota } = this.#options;
    const idle = this.#greediest((session) => session.idle);
    if (idle !== undefined) return this.#evict((session) => session.idle && session.peer.uid === idle);
    const busy = this.#greediest(() => true);
    if (busy === undefined || quota.used("connections", busy) <= quota.used("connections", newcomer)) return false;
    return this.#evict(({ peer }) => peer.uid === busy);
  }

  /** The user with the most connections, among those with one that qualifies. */
  #greediest(qualifies: (session: Session) => boolean): number | undefined {
    let greediest: number | undefined;
    let most = 0;
    for (const session of this.sessions) {
      const used = qualifies(session) ? this.#options.quota.used("connections", session.peer.uid) : 0;
      if (used > most) [greediest, most] = [session.peer.uid, used];
    }
    return greediest;
  }

  /** Closes the qualifying connection that has been silent longest. False when none qualifies. */
  #evict(qualifies: (session: Session) => boolean): boolean {
    let oldest: Session | undefined;
    for (const session of this.sessions) {
      if (qualifies(session) && !(oldest !== undefined && oldest.lastActive <= session.lastActive)) oldest = session;
    }
    if (oldest === undefined) return false;
    this.#options.log("info", `connection of pid ${oldest.peer.pid} (uid ${oldest.peer.uid}) closed to make room`, {
      event: "evicted",
      pid: oldest.peer.pid,
      uid: oldest.peer.uid,
    });
    oldest.close();
    return true;
  }
}
