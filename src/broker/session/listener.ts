/**
 * Accepts connections on the control socket and keeps them within bounds, so that no client keeps another from being
 * served: each user has a limit, and when descriptors grow scarce whoever has been idle longest is let go of. Leases
 * belong to processes, so a connection that goes costs its client nothing but a new one (hazards 6 and 12).
 */
import { constants } from "node:os";
import { SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { POLLIN } from "../../socket-constants.ts";
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
  /** Milliseconds a begun message may take. */
  readonly deadline: number;
  /** Soft RLIMIT_NOFILE of this process. */
  readonly maxFds: number;
}

/** Descriptors kept free of clients: for pidfds, plans, duplicates on the way out, and a reload. */
const RESERVE = 16;
/** Connections taken at one readiness, so that clients already here get their turn. */
const BATCH = 16;
/** How long to leave the queue alone when nothing can be accepted, in milliseconds. */
const PAUSE = 50;

export class Listener {
  readonly sessions: Set<Session> = new Set();
  readonly #socket: number;
  readonly #options: ListenerOptions;
  readonly #poll: Poll;
  #pause: NodeJS.Timeout | undefined;
  #isPaused = false;
  #isClosed = false;
  /** Said once, until connections are accepted again. */
  #starved = false;
  /** Times the queue was looked at, and how often it had been when health was asked about last and somebody waited. */
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
   * Asked now and then: false when a connection has waited since the last time and nobody has looked. It takes no
   * descriptor, for a client that has used them all up must not have the broker ended.
   */
  get healthy(): boolean {
    if (this.#isClosed) return false;
    const waits = !this.#isPaused && (this.#options.sys.pollNow(this.#socket, POLLIN) & POLLIN) !== 0;
    const healthy = !waits || this.#lookedAtLast !== this.#looked;
    this.#lookedAtLast = waits ? this.#looked : undefined;
    return healthy;
  }

  /** Accepts nobody and hears nobody but one until {@link resume}: whoever comes waits in the queue. */
  pause(exempt: Session): void {
    this.#isPaused = true;
    clearTimeout(this.#pause);
    this.#poll.start(0);
    for (const session of this.sessions) if (session !== exempt) session.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#watch();
    for (const session of this.sessions) session.resume();
  }

  /** Accepts nobody any more, and closes every connection but one. Idempotent. */
  close(exempt?: Session): void {
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

  /** accept(2) failed, for lack of something most likely. Make room, and look again in a while: it stays readable. */
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
    // While the poll rests, this timer alone may keep the process alive.
    this.#pause = setTimeout(() => this.#watch(), PAUSE);
  }

  #admit(handle: FdHandle): void {
    const { sys, quota, brokerUid, maxFds, service, log, deadline } = this.#options;
    let peer: Peer;
    try {
      peer = Peer.of(handle.fd, sys);
    } catch (error) {
      handle.close();
      log("warning", `a connection whose peer the kernel does not name was closed: ${error}`, { event: "refused" });
      return;
    }
    const scarce = handle.fd >= maxFds - RESERVE;
    if (!scarce) this.#starved = false;
    // Its own idle connections first; only a user below its limit may cost another user one, the greediest.
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

  /** Idle ones first; but not to be idle is easy, and keeps no room from a user who has fewer connections. */
  #evictFromGreediest(newcomer: number): boolean {
    const { quota } = this.#options;
    const idle = this.#greediest((session) => session.idle);
    if (idle !== undefined) return this.#evict((session) => session.idle && session.peer.uid === idle);
    const busy = this.#greediest(() => true);
    if (busy === undefined || quota.used("connections", busy) <= quota.used("connections", newcomer)) return false;
    return this.#evict(({ peer }) => peer.uid === busy);
  }

  /** The user with most connections of those who have one that qualifies. */
  #greediest(qualifies: (session: Session) => boolean): number | undefined {
    let greediest: number | undefined;
    let most = 0;
    for (const session of this.sessions) {
      const used = qualifies(session) ? this.#options.quota.used("connections", session.peer.uid) : 0;
      if (used > most) [greediest, most] = [session.peer.uid, used];
    }
    return greediest;
  }

  /** Closes the connection without a message for longest among those that qualify; false when there is none. */
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
